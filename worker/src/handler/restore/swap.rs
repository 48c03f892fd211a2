//! In place, by swap: the save stands whole beside the database before the two change places, in one transaction. The old
//! one is kept, so that an undo can swap it back. As one of a data set it is the new one that is kept, until all are whole.

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
    let mut swap = Swap {
        database: payload.database.clone(),
        incoming: Placed { name: staged.created.database().clone(), oid: incoming.oid },
        outgoing,
        keep_id: KeptId::generate(),
        keep_old_s: payload.keep_old_s,
        kept_id: None,
    };
    let own = source.properties.comment.as_deref();
    let mut comment = engine.restored_comment(at, own);
    if payload.stands_by {
        // It takes a place that nobody has, under the name and the mark of what is kept.
        swap.database = engine.outgoing(at, &payload.database, incoming.oid)?.name;
        swap.outgoing = None;
        comment = engine.kept_comment(at, own);
    }
    let mut result = staged.report(&payload.database, source.manifest.save);
    result["method"] = json!("swap");
    if payload.stands_by {
        result["waits"] = json!({ "id": swap.keep_id, "database": swap.database, "keep_s": swap.keep_old_s });
    } else {
        exchange::describe(&mut result, &swap);
    }
    match exchange::exchange(job, at, &swap, Some(&comment), result).await {
        Ok(done) => Ok(done),
        Err(Exchanged::Not(error)) => {
            stage::discard(restoring, staged.created).await;
            Err(error)
        }
        Err(Exchanged::Unknown(error)) => Err(error),
    }
}
