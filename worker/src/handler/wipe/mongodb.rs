//! Of a MongoDB database: one collection after another. That is not atomic, and says so; the journal lists what is to be emptied, and
//! to empty the rest is as good the second time as the first, so a crash is followed by whoever brings it to its end.

use serde_json::{Value, json};
use shared::{
    db::work::TargetWork,
    failpoint,
    job::{Emptied, Emptying, Journal, Step, WipeJob},
};

use super::{Done, Job, JobError, first, save_first, undo};
use crate::{
    engine::{
        EngineError, ErrorCode,
        mongodb::wipe::{Batch, WipePlan, delete_batch, left, make_anew, plan},
    },
    handler::mongo::Place,
};

/// An application that goes on writing is not deleted after for ever: this many times what was there, and a little.
const MOST: u64 = 4;
const LITTLE: u64 = 100_000;

/// Looks, saves, empties.
pub(super) async fn run(job: &Job, payload: &WipeJob, work: &TargetWork) -> Result<Done, JobError> {
    let place = Place::open(job, work, &payload.database).await?;
    let looked = job.lease.cancel.run_until_cancelled(plan(&place.database, &payload.keep)).await;
    let plan = looked.unwrap_or_else(|| Err(EngineError::cancelled()));
    if payload.dry_run {
        return match plan {
            Ok(plan) => Ok(Done::Plain(would(payload, &plan, None))),
            Err(why) if why.code() == ErrorCode::CollectionUnsupported => {
                Ok(Done::Plain(would(payload, &WipePlan::default(), Some(&why))))
            }
            Err(error) => Err(error.into()),
        };
    }
    let plan = plan?;
    let result = result(payload, &plan);
    if plan.collections.is_empty() {
        return Ok(Done::Wiped { found_something: false, result });
    }
    save_first(job, payload).await?;
    job.phase("wiping").await?;
    let emptying = Emptying {
        database: payload.database.clone(),
        collections: plan.collections.iter().map(|one| one.emptied.clone()).collect(),
    };
    let journal = Journal { step: Step::Emptying(emptying.clone()), result: result.clone() };
    job.commit_point(&journal).await?;
    finish(job, &place, payload, &emptying, result).await
}

/// Empties what a journal lists, from wherever it stands.
pub(in crate::handler) async fn finish(
    job: &Job,
    place: &Place,
    payload: &WipeJob,
    emptying: &Emptying,
    mut result: Value,
) -> Result<Done, JobError> {
    for (index, collection) in emptying.collections.iter().enumerate() {
        // None: nobody knows how many there are.
        let expected = result["collections"][index]["documents"].as_u64();
        match empty(job, place, collection, expected).await {
            Ok(Some(deleted)) if result["resolved"] != true && index < result_len(&result) => {
                result["collections"][index]["documents"] = json!(deleted);
            }
            Ok(_) => {}
            Err(Halt::Stopped(error)) => return Err(error),
            Err(Halt::Engine(error)) if error.is_permanent() => {
                return Err(halted(job, place, payload, emptying, error).await);
            }
            // The job has its journal: whoever takes it next goes on from here.
            Err(Halt::Engine(error)) => return Err(JobError::unknown(format!("the wipe is not at its end: {error}"))),
        }
    }
    let busy = left(&place.database, &emptying.collections)
        .await
        .map_err(|error| JobError::unknown(format!("the wipe is not at its end: {error}")))?;
    if !busy.is_empty() {
        result["warnings"] = json!([format!(
            "an application writes meanwhile: {} collection(s) hold documents again ({})",
            busy.len(),
            busy.iter().take(10).cloned().collect::<Vec<_>>().join(", ")
        )]);
    }
    Ok(Done::Wiped { found_something: true, result })
}

fn result_len(result: &Value) -> usize {
    result["collections"].as_array().map_or(0, Vec::len)
}

enum Halt {
    Engine(EngineError),
    Stopped(JobError),
}

/// One collection. How many documents were deleted; None where it was made anew.
async fn empty(job: &Job, place: &Place, collection: &Emptied, expected: Option<u64>) -> Result<Option<u64>, Halt> {
    let Emptied { name, made } = collection;
    if let Some(made) = made {
        owned(job).await?;
        make_anew(&place.database, name, made, || failpoint!("wipe.made.dropped")).await.map_err(Halt::Engine)?;
        return Ok(None);
    }
    let most = expected.map_or(u64::MAX, |expected| expected.saturating_mul(MOST).saturating_add(LITTLE));
    let mut deleted = 0;
    while deleted <= most {
        owned(job).await?;
        failpoint!("wipe.batch.before");
        let batch = delete_batch(&place.database, name).await.map_err(Halt::Engine)?;
        failpoint!("wipe.batch.after");
        match batch {
            Batch::Deleted(count) => deleted += count,
            Batch::Empty => break,
        }
    }
    Ok(Some(deleted))
}

/// Whoever was thought dead must not delete what was written after a resolver had ended it.
async fn owned(job: &Job) -> Result<(), Halt> {
    if job.lease.stopped().is_some() {
        return Err(Halt::Stopped(JobError::Stopped));
    }
    job.still_owns().await.map_err(Halt::Stopped)
}

/// There is no way on before a person has changed something: what is left is said.
async fn halted(job: &Job, place: &Place, payload: &WipeJob, emptying: &Emptying, error: EngineError) -> JobError {
    let rest = match left(&place.database, &emptying.collections).await {
        Ok(left) => format!(
            "{} of {} collection(s) still hold documents: {}",
            left.len(),
            emptying.collections.len(),
            left.iter().take(20).cloned().collect::<Vec<_>>().join(", ")
        ),
        Err(why) => format!("what is left cannot be seen ({why})"),
    };
    let saved = match payload.safety_save_id {
        Some(save) => format!("what was there is in the safety save {save}"),
        None => "no safety save was made".to_owned(),
    };
    tracing::warn!(job.id = %job.lease.fence.job, error = &error as &dyn std::error::Error, "a wipe ends in its middle");
    let hint = error.hint().to_owned();
    JobError::abort(
        "wipe_incomplete",
        format!("{error}; {rest}; {saved}"),
        format!("{hint}; then wipe again, or restore"),
    )
}

fn would(payload: &WipeJob, plan: &WipePlan, why: Option<&EngineError>) -> Value {
    let problems = why.map(|why| json!({ "code": why.code().as_str(), "severity": "error", "message": why.to_string(), "hint": why.hint() }));
    json!({
        "dry_run": true,
        "engine": "mongodb",
        "database": payload.database,
        "atomic": false,
        "would_fail": problems.is_some(),
        "problems": problems.into_iter().collect::<Vec<_>>(),
        "collections": collections(plan),
        "collection_count": plan.collections.len(),
        "kept": first(&plan.kept),
        "kept_count": plan.kept.len(),
        "views": first(&plan.views),
        "put_aside": plan.asides,
        "estimates": "documents and bytes are the server's statistics",
    })
}

fn result(payload: &WipeJob, plan: &WipePlan) -> Value {
    json!({
        "engine": "mongodb",
        "database": payload.database,
        "atomic": false,
        "collections": collections(plan),
        "collection_count": plan.collections.len(),
        "kept": first(&plan.kept),
        "kept_count": plan.kept.len(),
        "views": plan.views.len(),
        "put_aside": plan.asides,
        "warnings": [],
        "undo": undo(payload),
    })
}

fn collections(plan: &WipePlan) -> Value {
    let one = |one: &crate::engine::mongodb::wipe::Planned| {
        let way = if one.emptied.made.is_some() { "made_anew" } else { "deleted" };
        json!({ "collection": one.emptied.name, "documents": one.documents, "bytes": one.bytes, "way": way })
    };
    first(&plan.collections.iter().map(one).collect::<Vec<_>>())
}
