//! In place without a second database: one transaction of the restore tool inside the target. The last block is held back
//! until every digest has matched and the journal is written; with it the tool commits.

use serde_json::json;
use shared::job::{Journal, Step};

use super::{Attempt, Done, JobError, Restoring, pour};
use crate::store::Store;

pub(super) async fn run(restoring: &Restoring<'_>, why: &str) -> Result<Done, JobError> {
    let Restoring { job, payload, source, .. } = restoring;
    job.phase("restoring").await?;
    let mut tries = source.tries()?;
    let restored = loop {
        match once(restoring, tries.store()).await {
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

async fn once(restoring: &Restoring<'_>, store: &dyn Store) -> Result<crate::stream::Restored, Attempt> {
    let Restoring { job, payload, at, source, options, .. } = restoring;
    let (engine, cancel, database) = (&job.ctx.postgres, &job.lease.cancel, &payload.database);
    let stored = pour::open(job, source, store).await?;
    let before = engine.evidence(at, database).await?;
    let restore = engine.start_direct(at, database, &source.restorable(), options, cancel).await?;
    let result = json!({ "database": database, "save_id": source.manifest.save, "method": "direct" });
    let release = async {
        let step = Step::Direct { database: database.clone(), before };
        job.commit_point(&Journal { step, result }).await
    };
    pour::pour(job, source, store, stored, restore, release).await.map_err(|attempt| match attempt {
        // After the journal nothing is tried again: the tool's own verdict is that it rolled back.
        Attempt::Job(JobError::Retry(problem)) | Attempt::Copy(JobError::Retry(problem)) if job.is_committing() => {
            Attempt::Job(JobError::unknown(problem.message))
        }
        other => other,
    })
}
