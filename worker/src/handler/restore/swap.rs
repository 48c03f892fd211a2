//! In place, by swap: the save stands whole beside the database before the two change places, in one transaction. The old
//! one is kept, so that an undo can swap it back.

use serde_json::json;
use shared::{
    id::KeptId,
    job::{Placed, Swap},
};

use super::{
    super::exchange::{self, Exchanged},
    Done, JobError, Restoring, stage,
};
use crate::engine::postgres::Standing;

pub(super) async fn run(restoring: &Restoring<'_>, standing: &Standing) -> Result<Done, JobError> {
    let Restoring { job, payload, at, source, .. } = restoring;
    let engine = &job.ctx.postgres;
    let Some(staged) = stage::stage(restoring, &payload.database).await? else {
        return Err(JobError::abort("internal", "the staging database was taken for published", "Report this."));
    };
    let outgoing = match &standing.existing {
        Some(existing) => Some(engine.outgoing(at, &payload.database, existing.oid)?),
        None => None,
    };
    let incoming = engine.standing(at, staged.created.database()).await?.existing;
    let Some(incoming) = incoming else {
        return Err(JobError::abort("target_changed", "the restored database is gone", "Start the restore again."));
    };
    let swap = Swap {
        database: payload.database.clone(),
        incoming: Placed { name: staged.created.database().clone(), oid: incoming.oid },
        outgoing,
        keep_id: KeptId::generate(),
        keep_old_s: payload.keep_old_s,
        kept_id: None,
    };
    let mut result = staged.report(&payload.database, source.manifest.save);
    result["method"] = json!("swap");
    exchange::describe(&mut result, &swap);
    let comment = engine.restored_comment(at, source.properties.comment.as_deref());
    match exchange::exchange(job, at, &swap, Some(&comment), result).await {
        Ok(done) => Ok(done),
        Err(Exchanged::Not(error)) => {
            stage::discard(restoring, staged.created).await;
            Err(error)
        }
        Err(Exchanged::Unknown(error)) => Err(error),
    }
}
