//! Put back in its place what a restore, or an undo, put aside; or, for the first time, what was restored beside it as one of a
//! data set. What makes way for it is kept in its turn.

use serde_json::json;
use shared::{
    db::{
        jobs,
        kept::{self, KeptRow},
        work::{Purpose, TargetWork},
    },
    id::{KeptId, ServerId},
    job::{Placed, Step, Swap, UndoJob},
    name::DatabaseName,
};

use super::{
    Done, Job, JobError,
    exchange::{self, Exchanged},
    mongo::{MONGODB, Place},
    renames, restore,
};
use crate::engine::{
    Engine as _,
    mongodb::restore::{
        Survey,
        rename::{Base, plan_undo},
    },
};

/// Swaps.
pub async fn run(job: &Job, payload: &UndoJob) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let work = job.target(payload.target_id, Purpose::Restore).await?;
    let mut conn = job.ctx.pool.acquire().await?;
    let kept = kept::get(&mut conn, payload.kept_id).await?.filter(|kept| kept.is_kept).ok_or_else(missing)?;
    drop(conn);
    require_server(work.server_id, kept.server_id)?;
    if work.engine == MONGODB {
        return of_collections(job, payload, &work, &kept).await;
    }
    let (at, _) = job.ctx.connection(&work, job.lease.fence)?;
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

/// Collections change names again: those that were put aside get theirs back.
async fn of_collections(job: &Job, payload: &UndoJob, work: &TargetWork, kept: &KeptRow) -> Result<Done, JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let journal = jobs::get(&mut conn, kept.job_id).await?.and_then(|row| row.journal);
    drop(conn);
    let step = journal.map(|journal| journal.0.step);
    let place = Place::open(job, work, &kept.database).await?;
    let survey = Survey::of(&place.database).await?;
    let made = match step {
        Some(Step::Renames(made)) if !survey.asides(kept.job_id.0).is_empty() => made,
        Some(Step::Waits(made)) if made.moves.iter().all(|one| survey.has(&one.aside)) => made,
        _ => return Err(missing()),
    };
    survey.require_unsharded(&place.database).await?;
    let base = Base {
        database: kept.database.clone(),
        replaces: true,
        whole: made.whole,
        keep_old_s: payload.keep_old_s,
        kept_id: Some(kept.id),
    };
    let plan = plan_undo(&place.at, &survey, &made, base)?;
    let stays = |name: &str| format!("time series {name:?} stays as it is, as MongoDB renames none");
    let warnings: Vec<String> = if made.whole { survey.series().map(stays).collect() } else { Vec::new() };
    let result = json!({
        "database": kept.database, "undone": kept.job_id, "from": kept.name, "method": "renames", "atomic": false,
        "warnings": warnings,
    });
    renames::commit(job, &place.database, plan, result).await.map_err(|failed| match failed {
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
