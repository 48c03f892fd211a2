//! The point of no return of a swap: journal, transaction, and the certainty of what became of it (design §4, §8).

use std::time::Duration;

use serde_json::{Value, json};
use shared::{
    failpoint,
    job::{Journal, Step, Swap},
};
use tokio::time::Instant;

use super::{Done, Job, JobError};
use crate::engine::{Connection, EngineError, ErrorCode, postgres::Look};

/// How long sessions that come again and again may keep the databases from changing places.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// Why two databases did not change places.
#[derive(Debug)]
pub(super) enum Exchanged {
    /// They stand where they stood.
    Not(JobError),
    /// The server could not be asked: whoever takes the job next looks.
    Unknown(JobError),
}

/// What a result says of a swap.
pub(super) fn describe(result: &mut Value, swap: &Swap) {
    result["kept"] = match &swap.outgoing {
        Some(outgoing) => json!({ "id": swap.keep_id, "database": outgoing.name, "keep_s": swap.keep_old_s }),
        None => Value::Null,
    };
}

/// Writes the journal and swaps. `comment` is what the database that comes in says afterwards.
pub(super) async fn exchange(
    job: &Job,
    at: &Connection,
    swap: &Swap,
    comment: Option<&str>,
    result: Value,
) -> Result<Done, Exchanged> {
    let journal = Journal { step: Step::Swap(swap.clone()), result: result.clone() };
    job.commit_point(&journal).await.map_err(|error| match error {
        JobError::Stopped => Exchanged::Not(error),
        // It may be written.
        error => Exchanged::Unknown(error),
    })?;
    let deadline = Instant::now() + PATIENCE;
    let unknown = |error: EngineError| {
        Exchanged::Unknown(JobError::unknown(format!("whether the databases changed places is not known yet: {error}")))
    };
    loop {
        let error = match once(job, at, swap, comment).await {
            Ok(()) => return Ok(Done::Swapped { swap: swap.clone(), result }),
            Err(Failed::Lost(error)) => return Err(Exchanged::Unknown(error)),
            Err(Failed::Engine(error)) => error,
        };
        match job.ctx.postgres.look(at, swap).await.map_err(unknown)? {
            Look::Swapped => return Ok(Done::Swapped { swap: swap.clone(), result }),
            Look::Changed(now) => return Err(Exchanged::Not(changed(&now))),
            Look::Before if may_pass(&error) && Instant::now() < deadline => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the databases have not changed places yet");
                tokio::time::sleep(PAUSE).await;
            }
            Look::Before => return Err(Exchanged::Not(for_good(error))),
        }
    }
}

enum Failed {
    /// Somebody else may own the job.
    Lost(JobError),
    Engine(EngineError),
}

async fn once(job: &Job, at: &Connection, swap: &Swap, comment: Option<&str>) -> Result<(), Failed> {
    let pending = job.ctx.postgres.swap(at, swap, comment).await.map_err(Failed::Engine)?;
    failpoint!("swap.renamed");
    // The last look before it is final: whoever was thought dead must not swap what a resolver has given up.
    job.still_owns().await.map_err(Failed::Lost)?;
    failpoint!("swap.commit.before");
    pending.commit().await.map_err(Failed::Engine)?;
    failpoint!("swap.commit.after");
    Ok(())
}

fn may_pass(error: &EngineError) -> bool {
    matches!(error.code(), ErrorCode::DatabaseInUse | ErrorCode::ConnectionLost | ErrorCode::LockTimeout)
}

/// The job has its journal by now: it is not worked through again, whatever the error says.
fn for_good(error: EngineError) -> JobError {
    match JobError::from(error) {
        JobError::Retry(problem) => JobError::abort(
            &problem.code,
            format!("the databases did not change places, everything is as it was: {}", problem.message),
            problem.hint,
        ),
        other => other,
    }
}

pub(super) fn changed(now: &str) -> JobError {
    JobError::abort(
        "target_changed",
        format!("somebody else has renamed or dropped databases meanwhile: {now}"),
        "Look at the server, and start again from what is there.",
    )
}
