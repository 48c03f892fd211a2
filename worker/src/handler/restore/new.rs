//! Into a new database: it gets its name as the last step, and a failed restore drops what it created.

use serde_json::json;

use super::{Done, JobError, Restoring, stage};
use crate::engine::Engine as _;

pub(super) async fn run(restoring: &Restoring<'_>) -> Result<Done, JobError> {
    let Restoring { job, payload, at, source, .. } = restoring;
    let save = source.manifest.save;
    let Some(staged) = stage::stage(restoring, &payload.database).await? else {
        let warning = "an earlier attempt of this job had restored and named the database, and ended before it could \
                       record it; its warnings are in the log of its worker";
        return Ok(Done::Plain(json!({
            "database": payload.database, "save_id": save, "adopted": true, "warnings": [warning],
        })));
    };
    if let Err(error) = job.ctx.postgres.publish(at, &staged.created, &source.properties).await {
        stage::discard(restoring, staged.created).await;
        return Err(error.into());
    }
    Ok(Done::Plain(staged.report(&payload.database, save)))
}
