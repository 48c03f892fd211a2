//! Empty a target's database (design §8): looked at, saved first, and only then, past the point of no return, emptied. Nothing is
//! tried again once destruction began: who comes after a crash looks what became of it.

pub(super) mod mongodb;
pub(super) mod postgres;

use serde_json::{Value, json};
use shared::{
    db::work::{Purpose, TargetWork},
    job::{VerifyJob, WipeJob},
    schedule::Depth,
};
use sqlx::Connection as _;

use super::{Done, Job, JobError, mongo::MONGODB, restore::safety, verify};
use crate::{lease::Stop, record};

/// Tables and collections that a result lists of each kind.
const LISTED: usize = 1000;

/// Wipes, or looks.
pub async fn run(job: &Job, payload: &WipeJob) -> Result<Done, JobError> {
    job.phase("looking").await?;
    let work = job.target(payload.target_id, Purpose::Restore).await?;
    require_same(&work, payload)?;
    if work.engine == MONGODB {
        mongodb::run(job, payload, &work).await
    } else {
        postgres::run(job, payload, &work).await
    }
}

/// What was confirmed is what is wiped.
pub(super) fn require_same(work: &TargetWork, payload: &WipeJob) -> Result<(), JobError> {
    if work.server_id == payload.server_id && work.database == payload.database.as_str() {
        return Ok(());
    }
    Err(JobError::abort(
        "target_changed",
        "the target stands for another database than the one that was to be wiped",
        "Ask for the wipe again, and confirm the database that it is now.",
    ))
}

/// Makes the safety save, reads every copy of it again, and writes down what was found. Nothing is destroyed before.
async fn save_first(job: &Job, payload: &WipeJob) -> Result<(), JobError> {
    let Some(save_id) = payload.safety_save_id else { return Ok(()) };
    let advice = "Without a safety save (safety_save: false) a wipe cannot be undone.";
    safety::save(job, payload.target_id, save_id, advice).await?;
    let wanted = VerifyJob { v: 1, save_id, stores: Vec::new(), repair: false, depth: Depth::Hash };
    let Done::Verified(verified) = verify::run(job, &wanted).await? else {
        return Err(JobError::abort("internal", "a verification found something else", "Report this."));
    };
    let mut conn = job.ctx.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    if !shared::db::claim::owns(&mut tx, job.lease.fence).await? {
        job.lease.stop(Stop::Lost);
        return Err(JobError::Stopped);
    }
    record::verification(&mut tx, &job.ctx.jobs, job.lease.fence, &verified).await?;
    tx.commit().await?;
    if verified.passed() {
        return Ok(());
    }
    Err(JobError::abort(
        "safety_save_not_good",
        format!(
            "the safety save {save_id} was made and is not what was written when it is read again; nothing was wiped"
        ),
        "Look at the store, and start the wipe again.",
    ))
}

/// How it can be undone.
fn undo(payload: &WipeJob) -> Value {
    match payload.safety_save_id {
        Some(save) => {
            json!({ "save_id": save, "how": format!("POST /v1/saves/{save}/restore with {{\"into\": {{}}, \"confirm\": …}}") })
        }
        None => Value::Null,
    }
}

/// The first of a list, as a result shows it.
fn first<T: serde::Serialize>(all: &[T]) -> Value {
    json!(all.iter().take(LISTED).collect::<Vec<_>>())
}
