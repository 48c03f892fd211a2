//! Let go of saves that no rule keeps: planned anew and asked for in one fenced transaction; the deletions are jobs of their own.

use serde_json::json;
use shared::{
    db::{DbError, claim},
    enqueue::{self, Asked, EnqueueError},
    job::{Problem, RetentionJob},
};
use sqlx::Connection;

use super::{Done, Job, JobError};
use crate::lease::Stop;

/// Looks once.
pub async fn run(job: &Job, payload: &RetentionJob) -> Result<Done, JobError> {
    job.phase("planning").await?;
    let mut conn = job.ctx.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    if !claim::owns(&mut tx, job.lease.fence).await? {
        job.lease.stop(Stop::Lost);
        return Err(JobError::Stopped);
    }
    let retained = enqueue::retain(&mut tx, payload, &Asked::by_nobody(&job.ctx.jobs)).await.map_err(refused)?;
    tx.commit().await?;
    let Some(retained) = retained else {
        return Ok(Done::Plain(json!({ "why": "the schedule is deleted, or keeps everything" })));
    };
    tracing::info!(
        schedule.id = %payload.schedule_id,
        target.id = %payload.target_id,
        kept = retained.kept,
        removed = retained.removed.len(),
        blocked = retained.blocked.as_ref().map(|block| block.cause.as_str()),
        "retention"
    );
    Ok(Done::Plain(json!(retained)))
}

fn refused(error: EnqueueError) -> JobError {
    match error {
        EnqueueError::Db(error @ DbError::Unreadable { .. }) => JobError::abort(
            "schedule_unreadable",
            super::chain(&error),
            "Correct the schedule: this version cannot read it.",
        ),
        EnqueueError::Db(error) => error.into(),
        EnqueueError::Queue(error) => {
            JobError::Retry(Problem::retryable("queue_failed", super::chain(&error), "It is tried again by itself."))
        }
        error => JobError::abort("retention_refused", super::chain(&error), "This is a fault of Holdfast: report it."),
    }
}
