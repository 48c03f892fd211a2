//! The last transaction of an attempt, fenced on (job, epoch): the job's new state, what follows from it for its save
//! and its dependants, and the events. The caller adds its own rows in the same transaction.

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{PgConnection, types::Json};

use super::{
    DbError,
    claim::Fence,
    jobs::{self, JobRow, NewJob},
    notify, outbox, slots,
};
use crate::{
    event::NewEvent,
    id::{JobId, ServiceId},
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
    /// Nothing can be done before `delay` is over, which is nobody's fault: queued again, and the attempt is not counted.
    Postponed {
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
        Outcome::Postponed { problem, delay } => ("postponed", Some(problem), *delay, None),
        Outcome::Failed(problem) => ("failed", Some(problem), Duration::ZERO, None),
        Outcome::Cancelled => ("cancelled", None, Duration::ZERO, None),
        Outcome::Released => ("released", None, Duration::ZERO, None),
    };
    let finished = sqlx::query_file_scalar!(
        "src/db/sql/finish.sql",
        fence.job.0,
        fence.epoch,
        wish,
        problem.map(Json) as _,
        delay.as_secs_f64(),
        result
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(id) = finished else { return Ok(None) };
    let Some(job) = jobs::get(conn, id).await? else { return Ok(None) };
    settle(conn, &job).await?;
    // The key and the server's place are free again: whoever waits for them may look.
    notify::look(conn).await?;
    Ok(Some(job))
}

/// What follows from a job's new state, whoever wrote it: uses are given back, a save that will never come is failed,
/// dependants of what did not succeed are cancelled, and the world is told.
pub async fn settle(conn: &mut PgConnection, job: &JobRow) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM save_uses WHERE job_id = $1", job.id.0).execute(&mut *conn).await?;
    outbox::insert(conn, &job_event(job)).await?;
    if !job.state.is_terminal() {
        return Ok(());
    }
    sqlx::query!("SELECT pg_notify('holdfast_job_done', $1)", job.id.to_string()).execute(&mut *conn).await?;
    if job.state == JobState::Succeeded {
        return Ok(());
    }
    let reason = job.error.clone().map_or_else(
        || Problem::permanent(job.state.as_str(), format!("the backup was {}", job.state.as_str()), "Start it again."),
        |error| error.0,
    );
    fail_pending_save(conn, job, &reason).await?;
    slots::note_failure(conn, job).await?;
    let problem = Problem::permanent(
        "predecessor_failed",
        format!("job {} had to succeed first and did not", job.id),
        "Start both again.",
    );
    let dependants = sqlx::query_scalar!(
        "UPDATE jobs SET state = 'cancelled', finished_at = clock_timestamp(), error = $2
         WHERE after_job_id = $1 AND state = 'queued' RETURNING id",
        job.id.0,
        Json(problem) as _
    )
    .fetch_all(&mut *conn)
    .await?;
    for dependant in &jobs::by_ids(conn, &dependants).await? {
        Box::pin(settle(conn, dependant)).await?;
    }
    Ok(())
}

/// As [`settle`], for a job that was just made terminal by its id.
pub async fn after_terminal(conn: &mut PgConnection, id: JobId) -> Result<(), DbError> {
    match jobs::get(conn, id).await? {
        Some(job) => settle(conn, &job).await,
        None => Ok(()),
    }
}

/// Pending → failed: the save that the job was to make will not come.
pub async fn fail_pending_save(conn: &mut PgConnection, job: &JobRow, problem: &Problem) -> Result<(), DbError> {
    let Some(save) = job.save_id else { return Ok(()) };
    let problem = Json(problem);
    let failed = sqlx::query_scalar!(
        "UPDATE saves SET state = 'failed', error = $3 WHERE id = $1 AND job_id = $2 AND state = 'pending' RETURNING version",
        save.0,
        job.id.0,
        &problem as _
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(version) = failed else { return Ok(()) };
    sqlx::query!(
        "UPDATE save_copies SET state = 'missing', error = $2, updated_at = clock_timestamp()
         WHERE save_id = $1 AND state = 'uploading'",
        save.0,
        &problem as _
    )
    .execute(&mut *conn)
    .await?;
    let event = NewEvent {
        kind: "save.failed".to_owned(),
        subject: format!("saves/{save}"),
        aggregate: format!("save:{save}"),
        service: job.service_id,
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
    let data = json!({
        "job_id": job.id, "kind": job.kind, "state": job.state, "attempt": job.attempt, "epoch": job.epoch,
        "service_id": job.service_id, "target_id": job.target_id, "save_id": job.reads_save_id.or(job.save_id),
        "error": job.error,
    });
    event_of(kind, job.id, job.service_id, job.trace_id.clone(), data)
}

fn event_of(kind: &str, id: JobId, service: Option<ServiceId>, trace_id: Option<String>, data: Value) -> NewEvent {
    NewEvent {
        kind: kind.to_owned(),
        subject: format!("jobs/{id}"),
        aggregate: format!("job:{id}"),
        service,
        trace_id,
        data,
    }
}

/// The event of a job that is written with it: nothing of it is read.
pub(super) fn queued_event(job: &NewJob) -> NewEvent {
    let data = json!({
        "job_id": job.id, "kind": job.payload.kind(), "state": JobState::Queued, "attempt": 0, "epoch": 0,
        "service_id": job.service_id, "target_id": job.target_id, "save_id": job.reads_save_id.or(job.save_id),
        "error": null,
    });
    event_of("job.queued", job.id, job.service_id, job.trace_id.clone(), data)
}
