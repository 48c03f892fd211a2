//! `holdfast-worker rebuild-catalogue`: services, servers, targets and saves made anew of what a store holds, for when
//! Holdfast's own database is lost (docs/operations.md, docs/adr/0023-the-catalogue-from-a-store.md).
//!
//! Of each save the highest epoch is taken up whose manifest is what was signed and whose objects are there with their
//! lengths. What is passed over is told with its reason. Nothing in the store is changed, and a repetition adds only what
//! is missing.

mod find;
mod table;

use std::io::Write;

use shared::{
    config::Config,
    db::{
        audit,
        rebuild::{self as rows, FoundCopy, Rebuilt},
    },
    name::Slug,
    telemetry::Causes,
};

use self::{
    find::{Found, Place, Places, find},
    table::{Line, Table},
};
use crate::{app, declared::DeclaredStore, signing::Signer};

/// Names of objects that are asked for at once, the most that an S3 service gives.
const PAGE: usize = 1000;

/// What was done, or would be.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sum {
    saves: usize,
    copies: usize,
    known: usize,
    untrusted: usize,
    skipped: usize,
}

/// Rebuilds, or with `dry_run` only looks; tells each save on `out` as it goes.
pub async fn rebuild(config: &Config, name: &str, dry_run: bool, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    let DeclaredStore { name, declared, store, mut conn, ours } = DeclaredStore::open(config, name, "rebuild").await?;
    let packing = app::packing(&name, declared);
    let ring = config.secrets.ring.clone().unwrap_or_default();
    let preferred = config.secrets.public_key.as_ref().map(shared::secret::PublicKey::key_id);
    let signer = Signer::of(&ring, preferred.as_deref());

    let can_read = packing.encryption.as_ref().is_none_or(|encryption| encryption.can_read());
    if !can_read {
        writeln!(
            out,
            "store {name} is encrypted and there is no identity: only what lies there in clear can be taken up. Give the \
             configuration stores.{name}.encryption.identity_file"
        )?;
    }
    let mut places = Places::new(store.as_ref(), PAGE);
    let mut table = Table::begin(out)?;
    let mut sum = Sum::default();
    while let Some((place, epochs)) = places.next().await? {
        let line = match find((store.as_ref(), packing.encryption.as_deref()), &signer, &place, &epochs).await {
            Err(why) => {
                sum.skipped += 1;
                Line::skipped(&place, &why)
            }
            Ok(found) => {
                sum.untrusted += usize::from(!found.is_trusted());
                let rebuilt = if dry_run {
                    None
                } else {
                    let copy = copy_of(&found, &name);
                    match rows::take_up(&mut conn, &copy).await {
                        Ok(rebuilt) => Some(rebuilt),
                        // One save that does not fit must not cost all the others.
                        Err(error) => Some(Rebuilt::Refused(Causes(&error).to_string())),
                    }
                };
                sum.count(rebuilt.as_ref());
                Line::found(&found, rebuilt.as_ref())
            }
        };
        table.line(&line)?;
    }
    writeln!(out, "{} objects are no save's", places.strange())?;
    let Sum { saves, copies, known, untrusted, skipped } = sum;
    if dry_run {
        writeln!(
            out,
            "{saves} saves could be taken up, {untrusted} of them untrusted; {skipped} skipped. Nothing was changed"
        )?;
        return Ok(());
    }
    let entry = audit::Entry {
        action: "catalogue.rebuild",
        resource_type: Some("store"),
        resource_id: Some(name.to_string()),
        detail: serde_json::json!({ "saves": saves, "copies": copies, "known": known, "untrusted": untrusted, "skipped": skipped }),
        ..audit::Entry::default()
    };
    audit::insert(&mut conn, &entry).await?;
    writeln!(
        out,
        "{saves} saves and {copies} copies added, {known} were known, {skipped} skipped; {untrusted} are untrusted"
    )?;
    writeln!(out, "targets that were added have no passwords yet: give each its credentials")?;
    if let Some(marker) = store.marker().await?
        && marker.installation != ours
    {
        writeln!(
            out,
            "store {name} belongs to installation {}: nothing can be written or deleted there until `adopt --store {name} --yes`",
            marker.installation
        )?;
    }
    Ok(())
}

impl Sum {
    fn count(&mut self, rebuilt: Option<&Rebuilt>) {
        match rebuilt {
            None | Some(Rebuilt::Save) => self.saves += 1,
            Some(Rebuilt::Copy) => self.copies += 1,
            Some(Rebuilt::Known) => self.known += 1,
            Some(Rebuilt::Refused(_)) => self.skipped += 1,
        }
    }
}

fn copy_of<'a>(found: &'a Found, store: &'a Slug) -> FoundCopy<'a> {
    FoundCopy {
        manifest: &found.manifest,
        store: store.as_str(),
        epoch: found.epoch,
        trusted: found.is_trusted(),
        sealing: found.sealing.as_ref(),
        objects: found.objects.clone(),
        server_name: server_name(&found.manifest),
    }
}

/// `db-internal-5432`: a name of ours for an address, as no store holds the name it had.
fn server_name(manifest: &shared::manifest::Manifest) -> String {
    let at = manifest.server.clone().unwrap_or_default();
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let host: String = at.host.chars().map(plain).take(40).collect();
    let host = host.trim_matches('-');
    format!(
        "{}{}-{}",
        if host.is_empty() { "server" } else { host },
        if manifest.engine == "postgres" { "" } else { "-mongodb" },
        at.port
    )
}

/// A place in words.
fn told(place: &Place) -> String {
    format!("{}/{}", place.service, place.target)
}
