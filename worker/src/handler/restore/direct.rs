//! In place without a second database: one transaction of the restore tool inside the target replaces what the save holds.
//! The copy is read and checked as a whole before; then the last byte that the tool needs is held back until the whole has
//! been checked again and the tool's transaction stands in the journal.

use serde_json::json;

use super::{
    Attempt, Done, JobError, Restoring,
    part::{Release, contents, fill},
};
use crate::{record::reading::SavedCopy, stream::Restored};

pub(super) async fn run(restoring: &Restoring<'_>, why: &str) -> Result<Done, JobError> {
    let Restoring { payload, source, .. } = restoring;
    let mut tries = source.tries()?;
    let restored = loop {
        match once(restoring, tries.copy()).await {
            Ok(restored) => break restored,
            Err(attempt) => tries.failed(attempt)?,
        }
    };
    let (store, damaged) = tries.succeeded();
    let warning = format!(
        "restored inside the database ({why}): nothing was put aside, an undo is the restore of the safety save; what the save does not hold was left"
    );
    Ok(Done::Plain(json!({
        "database": payload.database, "save_id": source.manifest.save, "method": "direct", "store": store,
        "raw_bytes": restored.raw_bytes, "stored_bytes": restored.stored_bytes, "stages": restored.stages,
        "bottleneck": restored.bottleneck, "warnings": [warning], "damaged_copies": damaged,
    })))
}

async fn once(restoring: &Restoring<'_>, copy: &SavedCopy) -> Result<Restored, Attempt> {
    let Restoring { job, payload, at, .. } = restoring;
    let toc = contents(restoring, copy).await?;
    let part = job.ctx.postgres.all_for_existing(at, &payload.database, &toc, &job.lease.cancel).await?;
    fill(restoring, &payload.database, &part, copy, Release::Journalled).await
}
