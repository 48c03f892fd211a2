//! What a person sees while a catalogue is rebuilt: one line per save, as soon as it was looked at.

use std::io::{self, Write};

use shared::db::rebuild::Rebuilt;

use super::{
    find::{Found, Place},
    told,
};
use crate::signing::Verdict;

/// Lines under headings.
pub(super) struct Table<'a, W: Write>(&'a mut W);

/// One save.
#[derive(Debug)]
pub(super) struct Line {
    target: String,
    version: String,
    taken: String,
    bytes: String,
    signer: String,
    what: String,
}

impl<'a, W: Write> Table<'a, W> {
    pub(super) fn begin(out: &'a mut W) -> io::Result<Self> {
        let head = ["TARGET", "VERSION", "TAKEN", "STORED BYTES", "SIGNED BY", "WHAT"].map(str::to_owned);
        let [target, version, taken, bytes, signer, what] = head;
        let mut table = Self(out);
        table.line(&Line { target, version, taken, bytes, signer, what })?;
        Ok(table)
    }

    pub(super) fn line(&mut self, line: &Line) -> io::Result<()> {
        let Line { target, version, taken, bytes, signer, what } = line;
        writeln!(self.0, "{target:<32} {version:>7}  {taken:<20} {bytes:>14}  {signer:<20} {what}")?;
        self.0.flush()
    }
}

impl Line {
    pub(super) fn skipped(place: &Place, why: &str) -> Self {
        Self {
            target: told(place),
            version: "-".to_owned(),
            taken: "-".to_owned(),
            bytes: "-".to_owned(),
            signer: "-".to_owned(),
            what: format!("skipped {}: {why}", place.save),
        }
    }

    /// Without `rebuilt` it was only looked at.
    pub(super) fn found(found: &Found, rebuilt: Option<&Rebuilt>) -> Self {
        let manifest = &found.manifest;
        let mut what = match rebuilt {
            None => "would be added".to_owned(),
            Some(Rebuilt::Save) => "added".to_owned(),
            Some(Rebuilt::Copy) => "added as a further copy".to_owned(),
            Some(Rebuilt::Known) => "known".to_owned(),
            Some(Rebuilt::Refused(why)) => format!("skipped {}: {why}", manifest.save),
        };
        if !found.is_trusted() {
            what.push_str("; untrusted");
        }
        if !found.passed.is_empty() {
            what.push_str("; not taken: ");
            what.push_str(&found.passed.join("; "));
        }
        Self {
            target: format!("{}/{}", manifest.service, manifest.target),
            version: manifest.version.to_string(),
            taken: manifest.started_at.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            bytes: found.objects.iter().map(|object| object.stored_bytes).sum::<i64>().to_string(),
            signer: match &found.verdict {
                Verdict::Known { signer } => signer.clone(),
                Verdict::Unknown { .. } => "a stranger".to_owned(),
                Verdict::Unsigned => "nobody".to_owned(),
            },
            what,
        }
    }
}
