//! What a restore reads: the save's manifest, and the copies that this worker can reach, each by its own facts.

use std::collections::BTreeSet;

use serde_json::json;
use shared::{
    db::saves::{self, CopyRow},
    id::SaveId,
    manifest::{self, Manifest},
    name::Slug,
    save::{CopyState, SaveState},
};

use super::{Attempt, Job, JobError};
use crate::{
    engine::{DatabaseProperties, Restorable},
    record::reading::SavedCopy,
};

/// A save that can be read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) manifest: Manifest,
    pub(super) properties: DatabaseProperties,
    copies: Vec<SavedCopy>,
}

/// Where the trying of copies stands.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    current: &'a SavedCopy,
    copies: std::slice::Iter<'a, SavedCopy>,
    damaged: Vec<serde_json::Value>,
}

impl Source {
    /// Reads the record of an available save.
    pub(super) async fn load(job: &Job, save_id: SaveId) -> Result<Self, JobError> {
        Self::of(job, save_id, |copy| copy.state == CopyState::Good).await
    }

    /// As [`Source::load`], with the copies in these stores, whatever was known of them: they were seen to be good.
    pub(super) async fn seen(job: &Job, save_id: SaveId, stores: &BTreeSet<String>) -> Result<Self, JobError> {
        Self::of(job, save_id, |copy| stores.contains(&copy.store)).await
    }

    async fn of(job: &Job, save_id: SaveId, is_wanted: impl Fn(&CopyRow) -> bool) -> Result<Self, JobError> {
        let mut conn = job.ctx.pool.acquire().await?;
        let save = saves::get(&mut conn, save_id).await?;
        let available = save.filter(|save| save.state == SaveState::Available).and_then(|save| save.manifest);
        let Some(manifest) = available.map(|manifest| manifest.0) else {
            return Err(JobError::abort(
                "save_not_available",
                format!("save {save_id} is not available any more"),
                "Choose another save.",
            ));
        };
        if manifest.format > manifest::FORMAT {
            return Err(JobError::abort(
                "format_unsupported",
                format!("the save has format {}, this worker reads up to {}", manifest.format, manifest::FORMAT),
                "Use a newer worker.",
            ));
        }
        let copies = SavedCopy::chosen(&mut conn, &job.ctx, save_id, &manifest, is_wanted).await?;
        let properties = match manifest.engine.as_str() {
            "postgres" => serde_json::from_value(manifest.database_properties.clone()).map_err(|e| {
                JobError::abort(
                    "manifest_unreadable",
                    format!("the manifest's database properties cannot be read: {e}"),
                    "Use a newer version.",
                )
            })?,
            // Others have none that a restore needs.
            _ => DatabaseProperties::default(),
        };
        Ok(Self { manifest, properties, copies })
    }

    /// What decides which tools and servers can take it.
    pub(super) fn restorable(&self) -> Restorable {
        Restorable::of(self.manifest.tool_major, &self.manifest.server_version)
    }

    /// The good copies of which this worker has the store.
    pub(super) fn copies(&self) -> &[SavedCopy] {
        &self.copies
    }

    /// The copies, to be tried one after another as long as another may help.
    pub(super) fn tries(&self) -> Result<Tries<'_>, JobError> {
        let mut copies = self.copies.iter();
        let current = copies.next().ok_or_else(|| {
            JobError::abort(
                "no_copy",
                format!("save {} has no good copy in a store of this worker", self.manifest.save),
                "Start a worker that has the store.",
            )
        })?;
        Ok(Tries { current, copies, damaged: Vec::new() })
    }
}

impl Tries<'_> {
    /// The copy that is tried now.
    pub(super) fn copy(&self) -> &'_ SavedCopy {
        self.current
    }

    /// Its copy failed: on to the next, or out.
    pub(super) fn failed(&mut self, attempt: Attempt) -> Result<(), JobError> {
        match (attempt, self.copies.next()) {
            (Attempt::Copy(error), Some(next)) => {
                let name = &self.current.name;
                tracing::warn!(store = %name, error = %shared::telemetry::Causes(&error), "this copy cannot be restored; the next one is tried");
                self.damaged.push(json!({ "store": name, "error": error.to_string() }));
                self.current = next;
                Ok(())
            }
            (Attempt::Copy(error) | Attempt::Job(error), _) => Err(error),
        }
    }

    /// The name of the store whose copy was good, and what was wrong with those before it.
    pub(super) fn succeeded(self) -> (Slug, Vec<serde_json::Value>) {
        (self.current.name.clone(), self.damaged)
    }
}
