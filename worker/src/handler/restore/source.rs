//! What a restore reads: the save's manifest, its one dump object, and the copies that this worker can reach.

use std::sync::Arc;

use serde_json::json;
use shared::{
    db::saves,
    id::SaveId,
    manifest::{self, Manifest, ManifestObject},
    name::Slug,
    save::{CopyState, SaveState},
};

use super::{Attempt, Job, JobError};
use crate::{
    engine::{DatabaseProperties, Restorable},
    store::Store,
    stream::Expected,
};

/// A save that can be read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) manifest: Manifest,
    pub(super) object: ManifestObject,
    pub(super) expected: Expected,
    pub(super) properties: DatabaseProperties,
    copies: Vec<(Slug, Arc<dyn Store>)>,
}

/// Where the trying of copies stands.
#[derive(Debug)]
pub(super) struct Tries<'a> {
    current: &'a (Slug, Arc<dyn Store>),
    copies: std::slice::Iter<'a, (Slug, Arc<dyn Store>)>,
    damaged: Vec<serde_json::Value>,
}

impl Source {
    /// Reads the record of an available save.
    pub(super) async fn load(job: &Job, save_id: SaveId) -> Result<Self, JobError> {
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
        let mut copies = Vec::new();
        for copy in saves::copies(&mut conn, save_id).await? {
            if copy.state == CopyState::Good
                && let Ok(name) = Slug::parse(copy.store)
                && let Some(store) = job.ctx.stores.get(&name)
            {
                copies.push((name, Arc::clone(store)));
            }
        }
        let properties = serde_json::from_value(manifest.database_properties.clone()).map_err(|e| {
            JobError::abort(
                "manifest_unreadable",
                format!("the manifest's database properties cannot be read: {e}"),
                "Use a newer version.",
            )
        })?;
        let object = dump_object(&manifest)?.clone();
        Ok(Self { expected: expected(&object)?, object, properties, manifest, copies })
    }

    /// What decides which tools and servers can take it.
    pub(super) fn restorable(&self) -> Restorable {
        Restorable::of(self.manifest.tool_major, &self.manifest.server_version)
    }

    /// The good copies of which this worker has the store.
    pub(super) fn copies(&self) -> &[(Slug, Arc<dyn Store>)] {
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
    /// The store whose copy is tried now.
    pub(super) fn store(&self) -> &dyn Store {
        self.current.1.as_ref()
    }

    /// Its copy failed: on to the next, or out.
    pub(super) fn failed(&mut self, attempt: Attempt) -> Result<(), JobError> {
        match (attempt, self.copies.next()) {
            (Attempt::Copy(error), Some(next)) => {
                let name = &self.current.0;
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
        (self.current.0.clone(), self.damaged)
    }
}

fn dump_object(manifest: &Manifest) -> Result<&ManifestObject, JobError> {
    let mut parts = manifest.objects.iter().filter(|object| object.part.starts_with("dump."));
    match (parts.next(), parts.next()) {
        (Some(object), None) => Ok(object),
        (None, _) => Err(JobError::abort("manifest_unreadable", "the manifest names no dump", "Choose another save.")),
        (Some(_), Some(_)) => {
            Err(JobError::abort("format_unsupported", "the save has several dump parts", "Use a newer worker."))
        }
    }
}

fn expected(object: &ManifestObject) -> Result<Expected, JobError> {
    let unreadable = |_| {
        JobError::abort(
            "manifest_unreadable",
            format!("the digests of {} cannot be read", object.part),
            "Choose another save.",
        )
    };
    Ok(Expected {
        stored_bytes: object.stored_bytes,
        sha256: object.sha256.parse().map_err(unreadable)?,
        raw_bytes: object.raw_bytes,
        blake3: object.blake3.parse().map_err(unreadable)?,
    })
}
