//! What became of a job that ended after it wrote its journal: looked at on the target, and decided. Nothing is done
//! again (design §4).

use shared::{
    db::work::{Purpose, TargetWork},
    id::TargetId,
    job::{Journal, Payload, Renames, Step, Swap},
    name::DatabaseName,
};

use super::{
    Done, Job, JobError,
    exchange::{self, Exchanged},
    mongo::Place,
    renames, wipe,
};
use crate::engine::{
    Connection, Engine as _,
    postgres::{Look, parts::Ended},
};

/// Decides. Whatever older attempts still have open on the server is ended first: they cannot finish after the look.
pub(super) async fn run(job: &Job, payload: &Payload, journal: &Journal) -> Result<Done, JobError> {
    job.resuming();
    let Some(target) = target_of(payload) else {
        return Err(JobError::abort("internal", "a journal on a job that has no use for one", "Report this."));
    };
    let work = job.target(target, Purpose::Restore).await.map_err(undecided)?;
    if let Step::Renames(renames) = &journal.step {
        return of_renames(job, &work, renames, journal).await;
    }
    if let Step::Waits(waits) = &journal.step {
        // Whole before it was written down, and nothing came after it.
        return Ok(Done::Renamed { renames: waits.clone(), is_kept: true, result: resolved(journal) });
    }
    if let (Step::Emptying(emptying), Payload::Wipe(payload)) = (&journal.step, payload) {
        // What stands there now may not be what was to be emptied.
        wipe::require_same(&work, payload)?;
        let place = Place::open(job, &work, &emptying.database).await.map_err(undecided)?;
        return wipe::mongodb::finish(job, &place, payload, emptying, resolved(journal)).await;
    }
    let (at, _) = job.ctx.connection(&work, job.lease.fence).map_err(|error| undecided(error.into()))?;
    let ended = job.ctx.postgres.end_older_sessions(&at, &at.maintenance_database, &job.lease.cancel).await;
    ended.map_err(|error| undecided(error.into()))?;
    match &journal.step {
        Step::Swap(swap) => of_swap(job, &at, swap, journal).await,
        Step::Renames(_) | Step::Waits(_) | Step::Emptying(_) => {
            Err(JobError::abort("internal", "a step on a server that makes none like it", "Report this."))
        }
        Step::Transaction { database, id } => {
            let ended = job.ctx.postgres.transaction_ended(&at, database, id).await;
            match ended.map_err(|error| undecided(error.into()))? {
                Ended::Committed if matches!(payload, Payload::Wipe(_)) => {
                    wipe::postgres::resolved(job, &at, database, journal.result.clone()).await.map_err(undecided)
                }
                Ended::Committed => Ok(Done::Plain(resolved(journal))),
                Ended::RolledBack if matches!(payload, Payload::Wipe(_)) => Err(JobError::abort(
                    "wipe_not_done",
                    "the worker ended before the wipe was committed; the database is as it was",
                    "Start the wipe again.",
                )),
                Ended::RolledBack => Err(JobError::abort(
                    "restore_not_done",
                    "the worker ended before the restore was committed; the database is as it was",
                    "Start the restore again.",
                )),
                Ended::Forgotten => Err(JobError::abort(
                    "outcome_unknown",
                    "the worker ended while its transaction was committed, and the server does not remember it",
                    "Compare the tables with what they should hold; do it again if they do not.",
                )),
            }
        }
    }
}

/// What was begun is brought to its end: all that comes in is whole, compared and indexed. Where that is not possible any more,
/// all goes back.
async fn of_renames(job: &Job, work: &TargetWork, made: &Renames, journal: &Journal) -> Result<Done, JobError> {
    let place = Place::open(job, work, &made.database).await.map_err(undecided)?;
    match renames::finish(job, &place.database, made.clone(), resolved(journal)).await {
        Ok(done) => Ok(done),
        Err(Exchanged::Not(error) | Exchanged::Unknown(error)) => Err(error),
    }
}

async fn of_swap(job: &Job, at: &Connection, swap: &Swap, journal: &Journal) -> Result<Done, JobError> {
    let engine = &job.ctx.postgres;
    match engine.look(at, swap).await.map_err(|error| undecided(error.into()))? {
        Look::Swapped => Ok(Done::Swapped { swap: swap.clone(), result: resolved(journal) }),
        Look::Changed(now) => Err(exchange::changed(&now)),
        Look::Before => {
            if swap.kept_id.is_none() {
                drop_staged(job, at, &swap.incoming.name).await?;
            }
            Err(JobError::abort(
                "swap_not_done",
                "the worker ended before the databases changed places; everything is as it was",
                "Start it again.",
            ))
        }
    }
}

/// The database that was to come in: dropped, so that nobody who was thought dead can swap it in any more.
async fn drop_staged(job: &Job, at: &Connection, name: &DatabaseName) -> Result<(), JobError> {
    let engine = &job.ctx.postgres;
    for staged in engine.staged(at).await.map_err(|error| undecided(error.into()))? {
        if staged.database() == name {
            engine.discard(at, staged).await.map_err(|error| undecided(error.into()))?;
        }
    }
    Ok(())
}

fn resolved(journal: &Journal) -> serde_json::Value {
    let mut result = journal.result.clone();
    result["resolved"] = true.into();
    result
}

fn target_of(payload: &Payload) -> Option<TargetId> {
    match payload {
        Payload::Restore(job) => Some(job.target_id),
        Payload::Undo(job) => Some(job.target_id),
        Payload::Wipe(job) => Some(job.target_id),
        Payload::Import(job) => Some(job.target_id),
        _ => None,
    }
}

/// As long as it cannot be seen, nothing is decided: the job waits and looks again.
fn undecided(error: JobError) -> JobError {
    match error {
        JobError::Retry(problem) | JobError::Abort(problem) => {
            JobError::unknown(format!("what became of it cannot be seen yet: {}", problem.message))
        }
        JobError::Stopped => JobError::Stopped,
    }
}
