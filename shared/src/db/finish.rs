//! The last transaction of an attempt, fenced on (job, epoch): the job's new state, what follows from it for its save
//! and its dependants, and the events. The caller adds its own rows in the same transaction.

use std::time::Duration;

use serde_json::json;
use sqlx::{PgConnection, types::Json};

use super::{DbError, claim::Fence, jobs::JobRow, outbox};
use crate::{
    event::NewEvent,
    id::JobId,
    job::{JobState, Problem},
};

/// How an attempt ended.
#[derive(Debug, Clone)]
pub enum Outcome {
    Succeeded(serde_json::Value),
    /// Another attempt may help: queued again after `delay`, or failed when the attempts are used up.
    Retry {
        problem: Problem,
        delay: Duration,
    },
    Failed(Problem),
    Cancelled,
    /// Put back uncharged: the worker is shutting down.
    Released,
}

/// Ends the attempt. `None`: the fence did not hold, nothing was written and the caller must roll back.
pub async fn finish(conn: &mut PgConnection, fence: Fence, outcome: &Outcome) -> Result<Option<JobRow>, DbError> {
    let (wish, problem, delay, result) = match outcome {
        Outcome::Succeeded(result) => ("succeeded", None, Duration::ZERO, Some(result)),
        Outcome::Retry { problem, delay } => ("retry", Some(problem), *delay, None),
        Outcome::Failed(problem) => ("failed", Some(problem), Duration::ZERO, None),
        Outcome::Cancelled => ("cancelled", None, Duration::ZERO, None),
        Outcome::Released => ("released", None, Duration::ZERO, None),
    };
    let row: Option<JobRow> = sqlx::query_as(
        "WITH mine AS (
             SELECT id, CASE
                 WHEN $3 = 'retry' AND cancel_requested_at IS NOT NULL THEN 'cancelled'
                 WHEN $3 = 'released' AND cancel_requested_at IS NOT NULL THEN 'cancelled'
                 WHEN $3 = 'retry' AND attempt >= max_attempts THEN 'failed'
                 WHEN $3 IN ('retry', 'released') THEN 'queued'
                 ELSE $3 END AS next
             FROM jobs WHERE id = $1 AND epoch = $2 AND state = 'running' FOR UPDATE)
         UPDATE jobs j SET state = mine.next, phase = NULL, lease_owner = NULL, lease_until = NULL, server_slot = NULL,
             dispatched_at = NULL, error = $4, result = $6,
             attempt = CASE WHEN $3 = 'released' THEN greatest(attempt - 1, 0) ELSE attempt END,
             next_run_at = CASE WHEN mine.next = 'queued' THEN clock_timestamp() + make_interval(secs => $5) ELSE next_run_at END,
             finished_at = CASE WHEN mine.next <> 'queued' THEN clock_timestamp() END
         FROM mine WHERE j.id = mine.id RETURNING j.*",
    )
    .bind(fence.job)
    .bind(fence.epoch)
    .bind(wish)
    .bind(problem.map(Json))
    .bind(delay.as_secs_f64())
    .bind(result.map(Json))
    .fetch_optional(&mut *conn)
    .await?;
    let Some(job) = row else { return Ok(None) };
    settle(conn, &job).await?;
    // The key and the server's place are free again: whoever waits for them may look.
    sqlx::query("SELECT pg_notify('holdfast_look', '')").execute(conn).await?;
    Ok(Some(job))
}

/// What follows from a job's new state, whoever wrote it: uses are given back, a save that will never come is failed,
/// dependants of what did not succeed are cancelled, and the world is told.
pub async fn settle(conn: &mut PgConnection, job: &JobRow) -> Result<(), DbError> {
    sqlx::query("DELETE FROM save_uses WHERE job_id = $1").bind(job.id).execute(&mut *conn).await?;
    outbox::insert(conn, &job_event(job)).await?;
    if !job.state.is_terminal() {
        return Ok(());
    }
    sqlx::query("SELECT pg_notify('holdfast_job_done', $1)").bind(job.id.to_string()).execute(&mut *conn).await?;
    if job.state == JobState::Succeeded {
        return Ok(());
    }
    fail_pending_save(conn, job).await?;
    let dependants: Vec<JobRow> = sqlx::query_as(
        "UPDATE jobs SET state = 'cancelled', finished_at = clock_timestamp(), error = $2
         WHERE after_job_id = $1 AND state = 'queued' RETURNING *",
    )
    .bind(job.id)
    .bind(Json(Problem::permanent(
        "predecessor_failed",
        format!("job {} had to succeed first and did not", job.id),
        "Start both again.",
    )))
    .fetch_all(&mut *conn)
    .await?;
    for dependant in &dependants {
        Box::pin(settle(conn, dependant)).await?;
    }
    Ok(())
}

/// As [`settle`], for a job that was just made terminal by its id.
pub async fn after_terminal(conn: &mut PgConnection, id: JobId) -> Result<(), DbError> {
    match super::jobs::get(conn, id).await? {
        Some(job) => settle(conn, &job).await,
        None => Ok(()),
    }
}

async fn fail_pending_save(conn: &mut PgConnection, job: &JobRow) -> Result<(), DbError> {
    let Some(save) = job.save_id else { return Ok(()) };
    let problem = job.error.clone().unwrap_or_else(|| {
        Json(Problem::permanent(
            job.state.as_str(),
            format!("the backup was {}", job.state.as_str()),
            "Start it again.",
        ))
    });
    let failed: Option<i32> = sqlx::query_scalar(
        "UPDATE saves SET state = 'failed', error = $3 WHERE id = $1 AND job_id = $2 AND state = 'pending' RETURNING version",
    )
    .bind(save)
    .bind(job.id)
    .bind(&problem)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(version) = failed else { return Ok(()) };
    sqlx::query("UPDATE save_copies SET state = 'missing', error = $2, updated_at = clock_timestamp() WHERE save_id = $1 AND state = 'uploading'")
        .bind(save)
        .bind(&problem)
        .execute(&mut *conn)
        .await?;
    let event = NewEvent {
        kind: "save.failed".to_owned(),
        subject: format!("saves/{save}"),
        aggregate: format!("save:{save}"),
        service: super::saves::service_name(conn, job.service_id).await?,
        trace_id: job.trace_id.clone(),
        data: json!({ "save_id": save, "target_id": job.target_id, "job_id": job.id, "version": version, "error": problem }),
    };
    outbox::insert(conn, &event).await
}

pub(super) fn job_event(job: &JobRow) -> NewEvent {
    let kind = match job.state {
        JobState::Queued if job.error.is_some() => "job.retrying",
        JobState::Queued => "job.queued",
        JobState::Running => "job.started",
        JobState::Succeeded => "job.succeeded",
        JobState::Failed => "job.failed",
        JobState::Cancelled => "job.cancelled",
    };
    NewEvent {
        kind: kind.to_owned(),
        subject: format!("jobs/{}", job.id),
        aggregate: format!("job:{}", job.id),
        service: None,
        trace_id: job.trace_id.clone(),
        data: json!({
            "job_id": job.id, "kind": job.kind, "state": job.state, "attempt": job.attempt, "epoch": job.epoch,
            "service_id": job.service_id, "target_id": job.target_id, "save_id": job.save_id.or(job.reads_save_id),
            "error": job.error,
        }),
    }
}

/// The event of a job that was just queued.
pub async fn announce(conn: &mut PgConnection, id: JobId) -> Result<(), DbError> {
    match super::jobs::get(conn, id).await? {
        Some(job) => outbox::insert(conn, &job_event(&job)).await,
        None => Ok(()),
    }
}
