//! The save in a database of its own, under a name of its own: whole, settled, and not yet where anybody looks for it.

use serde_json::json;
use shared::{
    failpoint,
    id::SaveId,
    name::{DatabaseName, Slug},
};

use super::{Attempt, JobError, Restoring, compare, pour};
use crate::{
    engine::{Created, Creation},
    record::reading::SavedCopy,
    stream::Restored,
};

/// A restored database that waits for its name.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) created: Created,
    pub(super) restored: Restored,
    pub(super) warnings: Vec<String>,
    pub(super) store: Slug,
    pub(super) damaged: Vec<serde_json::Value>,
    /// How far it was compared with the save's inventory.
    compared: serde_json::Value,
}

/// Restores beside `wanted` from the first good copy. None: an older attempt of this job had published it.
pub(super) async fn stage(restoring: &Restoring<'_>, wanted: &DatabaseName) -> Result<Option<Staged>, JobError> {
    let mut tries = restoring.source.tries()?;
    let staged = loop {
        match once(restoring, wanted, tries.copy()).await {
            Ok(staged) => break staged,
            Err(attempt) => tries.failed(attempt)?,
        }
    };
    let Some((created, restored, warnings, compared)) = staged else { return Ok(None) };
    let (store, damaged) = tries.succeeded();
    Ok(Some(Staged { created, restored, warnings, store, damaged, compared }))
}

impl Staged {
    /// How far its rows were compared.
    pub(super) fn compared(&self) -> &serde_json::Value {
        &self.compared
    }

    /// What the job's result says of it.
    pub(super) fn report(&self, database: &DatabaseName, save: SaveId) -> serde_json::Value {
        let Restored { raw_bytes, stored_bytes, stages, bottleneck } = &self.restored;
        json!({
            "database": database, "save_id": save, "store": self.store, "raw_bytes": raw_bytes,
            "stored_bytes": stored_bytes, "stages": stages, "bottleneck": bottleneck, "warnings": self.warnings,
            "damaged_copies": self.damaged, "compared": self.compared,
        })
    }
}

type One = Option<(Created, Restored, Vec<String>, serde_json::Value)>;

async fn once(restoring: &Restoring<'_>, wanted: &DatabaseName, copy: &SavedCopy) -> Result<One, Attempt> {
    let Restoring { job, at, source, options, .. } = restoring;
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    let stored = pour::open(job, copy).await?;
    let created = match engine.create(at, wanted, &source.properties, options, cancel).await? {
        Creation::New(created) => created,
        Creation::Finished => return Ok(None),
    };
    let filled = async {
        job.phase("restoring").await?;
        let restore = engine.restore(at, &created, &source.restorable(), options, cancel).await?;
        let restored = pour::pour(job, copy, stored, restore).await?;
        // Before its settings and privileges are set, which may be such that nobody gets in.
        let compared = compare::compare(restoring, created.database()).await?;
        job.phase("settling").await?;
        let mut warnings = engine.settle(at, &created, &source.properties, options, cancel).await?;
        failpoint!("restore.settle.after");
        warnings.extend(compared.warnings);
        Ok::<_, Attempt>((restored, warnings, compared.report))
    };
    match filled.await {
        Ok((restored, warnings, compared)) => Ok(Some((created, restored, warnings, compared))),
        Err(error) => {
            discard(restoring, created).await;
            Err(error)
        }
    }
}

/// Drops what a failed restore made.
pub(super) async fn discard(restoring: &Restoring<'_>, created: Created) {
    let database = created.database().clone();
    if let Err(error) = restoring.job.ctx.postgres.discard(&restoring.at, created).await {
        tracing::error!(%database, error = %shared::telemetry::Causes(&error), "the database of a failed restore could not be dropped");
    }
}
