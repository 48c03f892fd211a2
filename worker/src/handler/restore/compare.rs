//! What was restored, held against the inventory of its save, while nobody can see it yet (design §8). The bytes that
//! were given to the tool are proven by then: this asks what the server has made of them.
//!
//! By digest the restored database is dumped once more, with the tool and the settings of a backup, and counted as the
//! backup was: the same code reads both. Nothing of it is kept.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::{
    failpoint,
    inventory::{self, Count, Entry, Inventory, Kind, Rest},
    job::Compare,
    name::DatabaseName,
};
use tokio::io::AsyncReadExt as _;

use super::{JobError, Restoring};
use crate::engine::{
    DumpMode, DumpOptions, Engine as _,
    postgres::inventory::{Counting, TableKey},
};

/// How much is read at once.
const PIECE: usize = 256 << 10;
/// How many tables a message names.
const NAMED: usize = 5;

/// What was compared, for the job's result.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) report: Value,
    pub(super) warnings: Vec<String>,
}

/// Compares as far as it was asked for and can be done. What could not be compared is a warning; what differs is a permanent
/// error, except where it may well be another version's way to write the same value.
pub(super) async fn compare(restoring: &Restoring<'_>, database: &DatabaseName) -> Result<Compared, JobError> {
    let Restoring { job, payload, source, .. } = restoring;
    let saved = match (&source.manifest.inventory, payload.compare) {
        (_, Compare::Off) => return Ok(not_compared("it was not asked for", false)),
        (None, _) => return Ok(not_compared("the save has no inventory", false)),
        (Some(saved), _) if saved.v > inventory::VERSION => {
            return Ok(not_compared("the save's inventory is of a newer version", true));
        }
        (Some(saved), _) => saved,
    };
    job.phase("comparing").await?;
    failpoint!("restore.compare.before");
    if payload.compare == Compare::Rows {
        return match by_rows(restoring, database, saved).await {
            Ok(compared) => Ok(compared),
            Err(error) => unable(error),
        };
    }
    let (restored, major) = match count(restoring, database).await {
        Ok((Ok(restored), major)) => (restored, major),
        Ok((Err(why), _)) => return Ok(not_compared(&why, true)),
        Err(error) => return unable(error),
    };
    let same_text = saved.encoding == restored.encoding;
    let differing = differences(saved, &restored);
    let (rows, digests): (Vec<_>, Vec<_>) = differing.into_iter().partition(Difference::in_rows);
    refuse(&rows)?;
    let inheriting = if digests.is_empty() {
        BTreeSet::new()
    } else {
        job.ctx.postgres.inheriting(&restoring.at, database, &job.lease.cancel).await?
    };
    let same_major = major == source.restorable().server_major;
    let sure = |difference: &Difference| same_text && same_major && !difference.is_one_of(&inheriting);
    let (wrong, doubtful): (Vec<_>, Vec<_>) = digests.into_iter().partition(sure);
    refuse(&wrong)?;
    let mut warnings = Vec::new();
    if !doubtful.is_empty() {
        let why = match (same_text, same_major) {
            (false, _) => "the character set of the two dumps is not the same",
            (_, false) => "the server is of another major version than the one it was saved from",
            _ => "their columns may have another order now",
        };
        let what = named(&doubtful);
        warnings.push(format!("as many rows as were saved, but not the same text: {what}; {why}"));
    }
    Ok(Compared { report: report(saved, "digest", doubtful.len()), warnings })
}

fn not_compared(why: &str, is_warning: bool) -> Compared {
    let warnings = if is_warning { vec![format!("not compared with the save's inventory: {why}")] } else { Vec::new() };
    Compared { report: json!({ "by": "none", "why": why }), warnings }
}

/// What fails for good while it is only looked at does not make the restore bad.
fn unable(error: JobError) -> Result<Compared, JobError> {
    match error {
        JobError::Abort(problem) if problem.code != MISMATCH => Ok(not_compared(&problem.message, true)),
        other => Err(other),
    }
}

fn report(saved: &Inventory, by: &str, doubtful: usize) -> Value {
    let entries = saved.entries.len() as u64 + saved.rest.as_ref().map_or(0, |rest| rest.entries);
    json!({ "by": by, "tables": entries, "rows": saved.rows, "bytes": saved.bytes, "doubtful": doubtful })
}

/// The code of what was not restored as it was saved.
pub(super) const MISMATCH: &str = "inventory_mismatch";

fn refuse(differing: &[Difference]) -> Result<(), JobError> {
    if differing.is_empty() {
        return Ok(());
    }
    Err(JobError::abort(
        MISMATCH,
        format!("what was restored is not what was saved: {}", named(differing)),
        "The bytes of the save were proven good, so look at the server: its log, what its extensions or event triggers \
         do with rows that come in. The target is as it was. compare: \"rows\" or \"off\" restores nevertheless.",
    ))
}

fn named(differing: &[Difference]) -> String {
    let text = differing.iter().take(NAMED).map(Difference::told).collect::<Vec<_>>().join("; ");
    match differing.len().saturating_sub(NAMED) {
        0 => text,
        more => format!("{text}; and {more} more"),
    }
}

/// Something that was saved and is not the same now.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    kind: Kind,
    schema: Option<String>,
    /// None: what the inventory does not list.
    name: Option<String>,
    saved: Count,
    restored: Count,
}

impl Difference {
    fn of(entry: &Entry, restored: Count) -> Self {
        let Entry { kind, schema, name, count } = entry.clone();
        Self { kind, schema, name: Some(name), saved: count, restored }
    }

    fn in_rows(&self) -> bool {
        self.saved.rows != self.restored.rows
    }

    fn is_one_of(&self, tables: &BTreeSet<TableKey>) -> bool {
        match (&self.schema, &self.name) {
            (Some(schema), Some(name)) => tables.contains(&(schema.clone(), name.clone())),
            // Whatever is not listed may be one of them.
            (_, None) => !tables.is_empty(),
            _ => false,
        }
    }

    fn told(&self) -> String {
        let what = match (self.kind, &self.schema, &self.name) {
            (Kind::LargeObjects, ..) => "the large objects".to_owned(),
            (_, Some(schema), Some(name)) => format!("{schema:?}.{name:?}"),
            (_, None, Some(name)) => format!("{name:?}"),
            (_, _, None) => "the tables that are not listed".to_owned(),
        };
        if self.in_rows() {
            format!("{what}: {} rows were saved and {} are there", self.saved.rows, self.restored.rows)
        } else {
            format!("{what}: {} rows with other contents", self.saved.rows)
        }
    }
}

/// What was saved and is not there, or is there in another way. What is there beside it is no matter of the save.
fn differences(saved: &Inventory, restored: &Inventory) -> Vec<Difference> {
    let found = |entry: &Entry| {
        restored
            .entries
            .binary_search_by(|other| other.key().cmp(&entry.key()))
            .ok()
            .and_then(|at| restored.entries.get(at))
    };
    let mut differing = Vec::new();
    for entry in &saved.entries {
        match found(entry) {
            Some(there) if there.count != entry.count => differing.push(Difference::of(entry, there.count)),
            None if restored.rest.is_none() && entry.count != Count::default() => {
                differing.push(Difference::of(entry, Count::default()));
            }
            _ => {}
        }
    }
    let sum = |rest: &Option<Rest>| rest.as_ref().map(|rest| rest.count).unwrap_or_default();
    let (saved, restored) = (sum(&saved.rest), sum(&restored.rest));
    if saved != restored && (saved != Count::default() || differing.is_empty()) {
        differing.push(Difference { kind: Kind::Table, schema: None, name: None, saved, restored });
    }
    differing
}

type Recounted = (Result<Inventory, String>, u32);

/// Counts what is there, as a backup would; and the server's major version.
async fn count(restoring: &Restoring<'_>, database: &DatabaseName) -> Result<Recounted, JobError> {
    let counting = Counting::default();
    let major = redump(restoring, database, DumpMode::Data, |piece| counting.feed(piece)).await?;
    Ok((counting.result(), major))
}

/// Dumps what is there, as a backup would, piece by piece; the server's major version.
pub(super) async fn redump(
    restoring: &Restoring<'_>,
    database: &DatabaseName,
    mode: DumpMode,
    mut take: impl FnMut(&[u8]) + Send,
) -> Result<u32, JobError> {
    let Restoring { job, at, source, .. } = restoring;
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    let probe = engine.probe(at, database, cancel).await?;
    let options = DumpOptions { mode, ..DumpOptions::default() };
    let mut dump = engine.dump(at, database, &options, &probe, cancel).await?;
    let Some(mut reader) = dump.reader() else {
        return Err(JobError::abort("internal", "the dump's output was taken twice", "Report this."));
    };
    let (progress, watched) = job.watch(source.manifest.inventory.as_ref().map(|saved| saved.bytes));
    let mut piece = vec![0; PIECE];
    let read = loop {
        match reader.read(&mut piece).await {
            Ok(0) => break Ok(()),
            Ok(n) => {
                progress.raw(n);
                take(piece.get(..n).unwrap_or_default());
            }
            Err(error) => break Err(error),
        }
    };
    drop(watched);
    if read.is_err() {
        // It knows better than its reader what went wrong.
        drop(reader);
    }
    dump.finish().await?;
    Ok(probe.server_major())
}

/// What an archive holds, held against the inventory of its save: what is not the same, in words.
pub(super) fn mismatch(saved: &Inventory, counted: &Inventory) -> Option<String> {
    let differing = differences(saved, counted);
    (!differing.is_empty()).then(|| named(&differing))
}

/// Counts rows alone: the server reads all of it too, and sends nothing.
async fn by_rows(restoring: &Restoring<'_>, database: &DatabaseName, saved: &Inventory) -> Result<Compared, JobError> {
    let Restoring { job, at, .. } = restoring;
    let key = |entry: &Entry| (entry.schema.clone().unwrap_or_default(), entry.name.clone());
    let tables: BTreeSet<TableKey> = saved.entries.iter().filter(|entry| entry.kind == Kind::Table).map(key).collect();
    let counts = job.ctx.postgres.count_rows(at, database, &tables, &job.lease.cancel).await?;
    let mut differing = Vec::new();
    for entry in &saved.entries {
        let rows = match entry.kind {
            Kind::LargeObjects => counts.large_objects,
            _ if counts.of_extensions.contains(&key(entry)) => continue,
            _ => counts.tables.get(&key(entry)).copied().unwrap_or_default(),
        };
        if rows != entry.count.rows {
            differing.push(Difference::of(entry, Count { rows, ..Count::default() }));
        }
    }
    refuse(&differing)?;
    let mut warnings = Vec::new();
    if let Some(rest) = &saved.rest {
        warnings.push(format!("{} small tables were not compared: the save does not list them", rest.entries));
    }
    Ok(Compared { report: report(saved, "rows", 0), warnings })
}

#[cfg(test)]
mod tests {
    use shared::inventory::Digest;

    use super::*;

    fn entry(name: &str, rows: u64, digest: u128) -> Entry {
        let count = Count { rows, bytes: rows, digest: Digest(digest) };
        Entry { kind: Kind::Table, schema: Some("s".to_owned()), name: name.to_owned(), count }
    }

    fn inventory(entries: Vec<Entry>) -> Inventory {
        Inventory::of(entries, Some("UTF8".to_owned()))
    }

    #[test]
    fn what_differs_is_found_and_told() {
        let saved = inventory(vec![entry("a", 1, 1), entry("b", 2, 2), entry("c", 3, 3), entry("none", 0, 0)]);
        assert_eq!(differences(&saved, &saved), []);
        let restored = inventory(vec![entry("a", 1, 9), entry("b", 1, 2), entry("more", 5, 5)]);
        let told: Vec<_> = differences(&saved, &restored).iter().map(Difference::told).collect();
        assert_eq!(
            told,
            [
                "\"s\".\"a\": 1 rows with other contents",
                "\"s\".\"b\": 2 rows were saved and 1 are there",
                "\"s\".\"c\": 3 rows were saved and 0 are there",
            ]
        );
    }

    #[test]
    fn what_is_not_listed_is_compared_as_a_sum() {
        let rest = |digest| Rest { entries: 3, count: Count { rows: 3, bytes: 9, digest: Digest(digest) } };
        let mut saved = inventory(vec![entry("a", 1, 1)]);
        saved.rest = Some(rest(7));
        assert_eq!(differences(&saved, &saved), []);
        let restored = Inventory { rest: Some(rest(8)), ..saved.clone() };
        let found = differences(&saved, &restored);
        assert!(found.len() == 1 && found[0].name.is_none() && !found[0].in_rows(), "{found:?}");
    }
}
