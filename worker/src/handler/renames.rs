//! The point of no return of a restore into a MongoDB database: journal, one rename after another, and the way back where there
//! is no way on (design §8). As [`super::exchange`] for PostgreSQL, without a transaction that holds the steps together.

use std::time::Duration;

use mongodb::Database;
use serde_json::{Value, json};
use shared::{
    failpoint,
    job::{Journal, Renames, Step},
};

use super::{Done, Job, JobError, exchange::Exchanged};
use crate::engine::{
    EngineError, ErrorCode,
    mongodb::restore::{
        Next, Survey, Way,
        rename::{apply, blocked, next, views_after, views_before},
        survey::drop_staged,
    },
};

/// How often one step is tried again before it counts as impossible: an application may make a collection anew whenever its
/// name is free.
const TRIES: usize = 20;
/// Between tries to drop what is left over.
const LEFT_OVER_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(1)];

/// Why a way was not gone to its end.
enum Halt {
    /// There is no way on, by what is on the server.
    Stuck(EngineError),
    /// Where it stands cannot be seen, or is somebody else's to see.
    Unknown(JobError),
}

/// Writes the journal and renames.
pub(super) async fn commit(job: &Job, database: &Database, renames: Renames, result: Value) -> Result<Done, Exchanged> {
    let journal = Journal { step: Step::Renames(renames.clone()), result: result.clone() };
    job.commit_point(&journal).await.map_err(|error| match error {
        JobError::Stopped => Exchanged::Not(error),
        // It may be written.
        error => Exchanged::Unknown(error),
    })?;
    finish(job, database, renames, result).await
}

/// Writes the journal of what waits for its names: it is kept, and nothing is renamed.
pub(super) async fn keep(job: &Job, waits: Renames, result: Value) -> Result<Done, Exchanged> {
    let journal = Journal { step: Step::Waits(waits.clone()), result: result.clone() };
    job.commit_point(&journal).await.map_err(|error| match error {
        JobError::Stopped => Exchanged::Not(error),
        error => Exchanged::Unknown(error),
    })?;
    Ok(Done::Renamed { renames: waits, is_kept: true, result })
}

/// Goes on from wherever the renames of a journal stand: to their end, or, where that is not possible, back to the beginning.
pub(super) async fn finish(
    job: &Job,
    database: &Database,
    renames: Renames,
    mut result: Value,
) -> Result<Done, Exchanged> {
    let why = match go(job, database, &renames, Way::Forward).await {
        Ok(survey) => {
            let asides = survey.asides(job.lease.fence.job.0);
            let is_kept = !asides.is_empty();
            describe(&mut result, &renames, &asides);
            left_over(job, database, &renames).await;
            return Ok(Done::Renamed { renames, is_kept, result });
        }
        Err(Halt::Unknown(error)) => return Err(Exchanged::Unknown(error)),
        Err(Halt::Stuck(why)) => why,
    };
    tracing::warn!(error = &why as &dyn std::error::Error, "the collections cannot get their names; all goes back");
    match go(job, database, &renames, Way::Back).await {
        Ok(_) => {
            left_over(job, database, &renames).await;
            Err(Exchanged::Not(for_good(why)))
        }
        Err(Halt::Unknown(error)) => Err(Exchanged::Unknown(error)),
        Err(Halt::Stuck(error)) => Err(Exchanged::Unknown(JobError::unknown(format!(
            "some collections have their new names, and there is no way on ({why}) nor back ({error}) yet"
        )))),
    }
}

async fn go(job: &Job, database: &Database, renames: &Renames, way: Way) -> Result<Survey, Halt> {
    let mut survey = look(database).await?;
    let mut failed = 0;
    views_before(database, renames, way).await.map_err(|error| halt(database, error)).map_err(Halt::of)?;
    loop {
        let step = match next(renames, &survey, way) {
            Next::Done => break,
            Next::Blocked(why) => return Err(Halt::Stuck(blocked(&why))),
            step => step,
        };
        if job.lease.stopped().is_some() {
            return Err(Halt::Unknown(JobError::Stopped));
        }
        // Whoever was thought dead must not rename what a resolver has brought to its end.
        job.still_owns().await.map_err(Halt::Unknown)?;
        failpoint!("mongo.rename.before");
        match apply(database, &step, &mut survey).await {
            Ok(()) => {
                failed = 0;
                failpoint!("mongo.rename.after");
            }
            Err(error) => {
                failed += 1;
                survey = look(database).await?;
                // What is next is asked anew: the answer may have been lost, or the name been taken in between.
                if failed > TRIES || (error.is_permanent() && error.code() != ErrorCode::CollectionExists) {
                    return Err(Halt::Stuck(error));
                }
                tracing::debug!(error = &error as &dyn std::error::Error, "a collection was not renamed yet");
            }
        }
    }
    job.still_owns().await.map_err(Halt::Unknown)?;
    failpoint!("mongo.views.before");
    views_after(database, renames, way).await.map_err(|error| halt(database, error)).map_err(Halt::of)?;
    failpoint!("mongo.views.after");
    Ok(survey)
}

fn halt(database: &Database, error: EngineError) -> EngineError {
    tracing::debug!(database = database.name(), error = &error as &dyn std::error::Error, "the views are not settled");
    error
}

impl Halt {
    fn of(error: EngineError) -> Self {
        if error.is_permanent() { Self::Stuck(error) } else { Self::unseen(&error) }
    }

    fn unseen(error: &EngineError) -> Self {
        Self::Unknown(JobError::unknown(format!("how far the renames came cannot be seen yet: {error}")))
    }
}

async fn look(database: &Database) -> Result<Survey, Halt> {
    Survey::of(database).await.map_err(|error| Halt::unseen(&error))
}

/// What a result says of what makes way.
fn describe(result: &mut Value, renames: &Renames, asides: &[String]) {
    let Renames { keep_id, keep_old_s, aside_prefix, .. } = renames;
    result["kept"] = if asides.is_empty() {
        Value::Null
    } else {
        json!({ "id": keep_id, "database": renames.database, "collections": asides.len(), "prefix": aside_prefix,
                "keep_s": keep_old_s })
    };
    let planned = |name: &String| renames.moves.iter().any(|one| one.aside == **name && one.had);
    let late = asides.iter().filter(|name| !planned(name)).count();
    if late > 0 {
        let warning = format!(
            "an application made {late} collection(s) anew while names changed: they were put aside too, under names that begin with {:?}",
            aside_prefix.as_str()
        );
        match result["warnings"].as_array_mut() {
            Some(warnings) => warnings.push(warning.into()),
            None => result["warnings"] = json!([warning]),
        }
    }
}

/// Nothing waits any more: what older attempts, or those renames that went back, have left is dropped. What an undo wanted to
/// put back is kept as it was.
async fn left_over(job: &Job, database: &Database, renames: &Renames) {
    if renames.kept_id.is_some() {
        return;
    }
    // Nothing depends on it, so that it is no reason to fail; and what stays takes room until somebody restores again.
    for pause in LEFT_OVER_PAUSES {
        match drop_staged(database, job.lease.fence.job.0, None).await {
            Ok(_) => return,
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "what the restore left could not be dropped; it is tried again"
            ),
        }
        tokio::time::sleep(pause).await;
    }
    if let Err(error) = drop_staged(database, job.lease.fence.job.0, None).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "what the restore left could not be dropped; the next restore does"
        );
    }
}

/// The job has its journal by now: it is not worked through again, whatever the error says.
fn for_good(error: EngineError) -> JobError {
    match JobError::from(error) {
        JobError::Retry(problem) | JobError::Abort(problem) => JobError::abort(
            &problem.code,
            format!("the collections were not replaced, everything is as it was: {}", problem.message),
            problem.hint,
        ),
        JobError::Stopped => JobError::Stopped,
    }
}
