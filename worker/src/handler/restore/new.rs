//! Into a new database: it gets its name as the last step, and a failed restore drops what it created.

use serde_json::json;

use super::{Done, JobError, Restoring, stage};

pub(super) async fn run(restoring: &Restoring<'_>) -> Result<Done, JobError> {
    let Restoring { job, payload, at, source, .. } = restoring;
    let save = source.manifest.save;
    let Some(staged) = stage::stage(restoring, &payload.database).await? else {
        return Ok(adopted(restoring));
    };
    if let Err(error) = job.ctx.postgres.publish(at, &staged.created, &source.properties).await {
        stage::discard(restoring, staged.created).await;
        return Err(error.into());
    }
    Ok(Done::Plain(staged.report(&payload.database, save)))
}

/// What there is to say where an earlier attempt had done it all.
pub(super) fn adopted(restoring: &Restoring<'_>) -> Done {
    let warning = "an earlier attempt of this job had restored and named the database, and ended before it could \
                   record it; its warnings are in the log of its worker";
    Done::Plain(json!({
        "database": restoring.payload.database, "save_id": restoring.source.manifest.save, "adopted": true,
        "warnings": [warning],
    }))
}
