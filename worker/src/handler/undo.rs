//! Swap back what a restore, or an undo, put aside. What makes way for it is kept in its turn.

use serde_json::json;
use shared::{
    db::{kept, work::Purpose},
    id::{KeptId, ServerId},
    job::{Placed, Swap, UndoJob},
    name::DatabaseName,
};

use super::{
    Done, Job, JobError,
    exchange::{self, Exchanged},
    restore,
};
use crate::engine::Engine as _;

/// Swaps.
pub async fn run(job: &Job, payload: &UndoJob) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let work = job.target(payload.target_id, Purpose::Restore).await?;
    let (at, _) = job.ctx.connection(&work, job.lease.fence)?;
    let mut conn = job.ctx.pool.acquire().await?;
    let kept = kept::get(&mut conn, payload.kept_id).await?.filter(|kept| kept.is_kept).ok_or_else(missing)?;
    drop(conn);
    require_server(work.server_id, kept.server_id)?;
    let engine = &job.ctx.postgres;
    engine.end_older_sessions(&at, &at.maintenance_database, &job.lease.cancel).await?;
    let (name, oid) = (&kept.name, u32::try_from(kept.oid).unwrap_or_default());
    let incoming = engine.standing(&at, name).await?;
    let Some(existing) = incoming.existing.filter(|existing| existing.oid == oid) else { return Err(missing()) };
    let database: DatabaseName = kept.database.clone();
    let standing = engine.standing(&at, &database).await?;
    restore::require_swappable(&at, &standing, &database)?;
    let outgoing = match &standing.existing {
        Some(existing) => Some(engine.outgoing(&at, &database, existing.oid)?),
        None => None,
    };
    let swap = Swap {
        database: database.clone(),
        incoming: Placed { name: name.clone(), oid },
        outgoing,
        keep_id: KeptId::generate(),
        keep_old_s: payload.keep_old_s,
        kept_id: Some(kept.id),
    };
    let mut result = json!({ "database": database, "undone": kept.job_id, "from": name });
    exchange::describe(&mut result, &swap);
    let comment = existing.comment.as_deref().and_then(|text| engine.own_comment(text));
    exchange::exchange(job, &at, &swap, comment.as_deref(), result).await.map_err(|failed| match failed {
        Exchanged::Not(error) | Exchanged::Unknown(error) => error,
    })
}

/// What was put aside stands where the target was then.
pub(super) fn require_server(now: ServerId, then: ServerId) -> Result<(), JobError> {
    if now == then {
        return Ok(());
    }
    Err(JobError::abort(
        "target_changed",
        "the target has moved to another server since: what was put aside stands on the old one",
        "Look there, or point the target at that server again.",
    ))
}

fn missing() -> JobError {
    JobError::abort(
        "nothing_kept",
        "what was put aside is not there any more: it was swapped back, dropped or renamed",
        "Restore the safety save, or another one.",
    )
}
