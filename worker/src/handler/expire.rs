//! Drop a database that was put aside and whose time is over. Only that very one: its oid, name and mark must say so.

use serde_json::json;
use shared::{
    db::{
        kept::{self, End},
        work::Purpose,
    },
    job::{ExpireJob, Placed},
};

use super::{Done, Job, JobError, undo};
use crate::engine::Engine as _;

/// Drops it, or finds that it is gone.
pub async fn run(job: &Job, payload: &ExpireJob) -> Result<Done, JobError> {
    job.phase("dropping").await?;
    let work = job.target(payload.target_id, Purpose::Restore).await?;
    let (at, _) = job.ctx.connection(&work, job.lease.fence)?;
    let mut conn = job.ctx.pool.acquire().await?;
    let kept = kept::get(&mut conn, payload.kept_id).await?;
    drop(conn);
    let Some(kept) = kept.filter(|kept| kept.is_kept) else {
        return Ok(Done::Plain(json!({ "dropped": false, "why": "it was swapped back or dropped before" })));
    };
    undo::require_server(work.server_id, kept.server_id)?;
    let engine = &job.ctx.postgres;
    engine.end_older_sessions(&at, &at.maintenance_database, &job.lease.cancel).await?;
    let placed = Placed { name: kept.name.clone(), oid: u32::try_from(kept.oid).unwrap_or_default() };
    let dropped = engine.drop_kept(&at, kept.job_id.0, &placed).await?;
    let end = if dropped { End::Dropped } else { End::Gone };
    Ok(Done::Expired { kept_id: kept.id, end, result: json!({ "dropped": dropped, "database": kept.name }) })
}
