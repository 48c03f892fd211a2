//! Drop what was put aside and whose time is over. Only that very database: its oid, name and mark must say so; of collections
//! their names, which tell the job.

use serde_json::json;
use shared::{
    db::{
        kept::{self, End},
        work::Purpose,
    },
    job::{ExpireJob, Placed},
};

use super::{
    Done, Job, JobError,
    mongo::{MONGODB, Place},
    undo,
};
use crate::engine::{
    Engine as _,
    mongodb::restore::{
        series::give_all,
        survey::{drop_asides, drop_staged},
    },
};

/// Drops it, or finds that it is gone.
pub async fn run(job: &Job, payload: &ExpireJob) -> Result<Done, JobError> {
    job.phase("dropping").await?;
    let work = job.target(payload.target_id, Purpose::Restore).await?;
    let mut conn = job.ctx.pool.acquire().await?;
    let kept = kept::get(&mut conn, payload.kept_id).await?;
    drop(conn);
    let Some(kept) = kept.filter(|kept| kept.is_kept) else {
        return Ok(Done::Plain(json!({ "dropped": false, "why": "it was swapped back or dropped before" })));
    };
    undo::require_server(work.server_id, kept.server_id)?;
    if work.engine == MONGODB {
        let place = Place::open(job, &work, &kept.database).await?;
        // What it put aside, or what it restored and nobody swapped in.
        let job = kept.job_id.0;
        // What a restore has given is not its own any more, should a server have lost its last word.
        give_all(&place.database, job).await?;
        let collections = drop_asides(&place.database, job).await? + drop_staged(&place.database, job, None).await?;
        let end = if collections > 0 { End::Dropped } else { End::Gone };
        let result = json!({ "dropped": collections > 0, "database": kept.database, "collections": collections });
        return Ok(Done::Expired { kept_id: kept.id, end, result });
    }
    let (at, _) = job.ctx.connection(&work, job.lease.fence)?;
    let engine = &job.ctx.postgres;
    engine.end_older_sessions(&at, &at.maintenance_database, &job.lease.cancel).await?;
    let placed = Placed { name: kept.name.clone(), oid: u32::try_from(kept.oid).unwrap_or_default() };
    let dropped = engine.drop_kept(&at, kept.job_id.0, &placed).await?;
    let end = if dropped { End::Dropped } else { End::Gone };
    Ok(Done::Expired { kept_id: kept.id, end, result: json!({ "dropped": dropped, "database": kept.name }) })
}
