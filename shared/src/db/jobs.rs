//! The `jobs` table as people see it: insert, read, list, history, cancel. The queue's own steps are in
//! [`claim`](super::claim), [`finish`](super::finish) and [`sweep`](super::sweep).

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, types::Json};

use super::{Counted, DbError};
use crate::{
    id::{AdminId, GroupId, JobId, SaveId, ServerId, ServiceId, TargetId},
    job::{JobState, Payload, Problem},
};

/// A job to insert. Its id is the caller's, so that rows of the same transaction can name it.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub id: JobId,
    pub payload: Payload,
    /// 0 to 9; higher goes first.
    pub priority: i16,
    pub worker_group: String,
    pub service_id: Option<ServiceId>,
    pub target_id: Option<TargetId>,
    pub server_id: Option<ServerId>,
    pub save_id: Option<SaveId>,
    pub reads_save_id: Option<SaveId>,
    pub exclusive_key: Option<String>,
    pub group_id: Option<GroupId>,
    pub after_job_id: Option<JobId>,
    pub retry_of: Option<JobId>,
    pub max_attempts: i32,
    pub deadline_s: Option<i32>,
    pub stall_s: Option<i32>,
    pub requested_by: Option<AdminId>,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
}

/// A job as it stands.
#[derive(Debug, Clone, FromRow)]
pub struct JobRow {
    pub id: JobId,
    pub kind: String,
    pub state: JobState,
    pub phase: Option<String>,
    pub payload: Json<serde_json::Value>,
    pub priority: i16,
    pub worker_group: String,
    pub service_id: Option<ServiceId>,
    pub target_id: Option<TargetId>,
    pub server_id: Option<ServerId>,
    pub save_id: Option<SaveId>,
    pub reads_save_id: Option<SaveId>,
    pub exclusive_key: Option<String>,
    pub group_id: Option<GroupId>,
    pub after_job_id: Option<JobId>,
    pub retry_of: Option<JobId>,
    pub attempt: i32,
    pub max_attempts: i32,
    pub epoch: i64,
    pub lease_owner: Option<String>,
    pub lease_until: Option<DateTime<Utc>>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub next_run_at: DateTime<Utc>,
    pub deadline_s: Option<i32>,
    pub stall_s: Option<i32>,
    pub progress: Json<serde_json::Value>,
    pub result: Option<Json<serde_json::Value>>,
    pub error: Option<Json<Problem>>,
    pub requested_by: Option<AdminId>,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl JobRow {
    /// The payload, if this version can read it.
    pub fn decode(&self) -> Result<Payload, DbError> {
        serde_json::from_value(self.payload.0.clone()).map_err(|error| DbError::Unreadable {
            table: "jobs",
            column: "payload",
            id: self.id.to_string(),
            problem: error.to_string(),
        })
    }
}

/// One line of a job's history.
#[derive(Debug, Clone, FromRow)]
pub struct JobEventRow {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub from_state: Option<JobState>,
    pub to_state: JobState,
    pub phase: Option<String>,
    pub attempt: i32,
    pub epoch: i64,
    pub worker: Option<String>,
    pub error: Option<Json<Problem>>,
}

/// Which jobs a list shows. `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// The services the caller may see.
    pub service_ids: Option<Vec<ServiceId>>,
    pub target_id: Option<TargetId>,
    pub kind: Option<String>,
    pub state: Option<JobState>,
    pub group_id: Option<GroupId>,
}

/// Adds a queued job. It starts when a worker claims it; [`crate::queue::hint`] makes that soon.
pub async fn insert(conn: &mut PgConnection, job: &NewJob) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO jobs (id, kind, payload, priority, worker_group, service_id, target_id, server_id, save_id,
             reads_save_id, exclusive_key, group_id, after_job_id, retry_of, max_attempts, deadline_s, stall_s,
             requested_by, request_id, trace_id)
         VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20)",
    )
    .bind(job.id)
    .bind(job.payload.kind())
    .bind(Json(&job.payload))
    .bind(job.priority)
    .bind(&job.worker_group)
    .bind(job.service_id)
    .bind(job.target_id)
    .bind(job.server_id)
    .bind(job.save_id)
    .bind(job.reads_save_id)
    .bind(&job.exclusive_key)
    .bind(job.group_id)
    .bind(job.after_job_id)
    .bind(job.retry_of)
    .bind(job.max_attempts)
    .bind(job.deadline_s)
    .bind(job.stall_s)
    .bind(job.requested_by)
    .bind(&job.request_id)
    .bind(&job.trace_id)
    .execute(conn)
    .await?;
    Ok(())
}

/// One job.
pub async fn get(conn: &mut PgConnection, id: JobId) -> Result<Option<JobRow>, DbError> {
    Ok(sqlx::query_as("SELECT * FROM jobs WHERE id = $1").bind(id).fetch_optional(conn).await?)
}

/// A page of jobs, newest first, and how many there are (counted to 10,000).
pub async fn list(
    conn: &mut PgConnection,
    filter: &JobFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<JobRow>, Counted), DbError> {
    let rows = sqlx::query_as(
        "SELECT * FROM jobs
         WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR target_id = $2)
           AND ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR state = $4) AND ($5::uuid IS NULL OR group_id = $5)
         ORDER BY id DESC LIMIT $6 OFFSET $7",
    )
    .bind(&filter.service_ids)
    .bind(filter.target_id)
    .bind(&filter.kind)
    .bind(filter.state.map(JobState::as_str))
    .bind(filter.group_id)
    .bind(limit)
    .bind(offset)
    .fetch_all(&mut *conn)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM jobs
         WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR target_id = $2)
           AND ($3::text IS NULL OR kind = $3) AND ($4::text IS NULL OR state = $4) AND ($5::uuid IS NULL OR group_id = $5)
         LIMIT $6) counted",
    )
    .bind(&filter.service_ids)
    .bind(filter.target_id)
    .bind(&filter.kind)
    .bind(filter.state.map(JobState::as_str))
    .bind(filter.group_id)
    .bind(Counted::BOUND + 1)
    .fetch_one(conn)
    .await?;
    Ok((rows, Counted::of(total)))
}

/// A job's history, oldest first.
pub async fn history(conn: &mut PgConnection, id: JobId) -> Result<Vec<JobEventRow>, DbError> {
    Ok(sqlx::query_as("SELECT id, at, from_state, to_state, phase, attempt, epoch, worker, error FROM job_events WHERE job_id = $1 ORDER BY id")
        .bind(id)
        .fetch_all(conn)
        .await?)
}

/// What became of a wish to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was queued and is cancelled now.
    Cancelled,
    /// It runs; its worker has been told.
    Requested,
    /// It passed the point of no return (phase `committing`).
    TooLate,
    /// It had ended before.
    Terminal(JobState),
}

/// Cancels a queued job at once and asks a running one's worker to. Repeating it changes nothing.
/// A queued job that is cancelled takes its pending save and its dependants with it:
/// the caller does that with [`finish::after_terminal`](super::finish::after_terminal).
pub async fn request_cancel(
    conn: &mut PgConnection,
    id: JobId,
    by: Option<AdminId>,
) -> Result<Option<CancelOutcome>, DbError> {
    let row: Option<(JobState, Option<String>)> =
        sqlx::query_as("SELECT state, phase FROM jobs WHERE id = $1 FOR UPDATE")
            .bind(id)
            .fetch_optional(&mut *conn)
            .await?;
    let Some((state, phase)) = row else { return Ok(None) };
    Ok(Some(match state {
        JobState::Queued => {
            sqlx::query(
                "UPDATE jobs SET state = 'cancelled', cancel_requested_at = clock_timestamp(), cancel_requested_by = $2,
                     finished_at = clock_timestamp() WHERE id = $1 AND state = 'queued'",
            )
            .bind(id)
            .bind(by)
            .execute(conn)
            .await?;
            CancelOutcome::Cancelled
        }
        JobState::Running if phase.as_deref() == Some("committing") => CancelOutcome::TooLate,
        JobState::Running => {
            sqlx::query(
                "UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
                     cancel_requested_by = coalesce(cancel_requested_by, $2) WHERE id = $1 AND state = 'running'",
            )
            .bind(id)
            .bind(by)
            .execute(&mut *conn)
            .await?;
            sqlx::query("SELECT pg_notify('holdfast_cancel', $1)").bind(id.to_string()).execute(conn).await?;
            CancelOutcome::Requested
        }
        terminal => CancelOutcome::Terminal(terminal),
    }))
}

/// Notes that workers were told of these jobs.
pub async fn set_dispatched(conn: &mut PgConnection, ids: &[JobId]) -> Result<(), DbError> {
    let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
    sqlx::query("UPDATE jobs SET dispatched_at = clock_timestamp() WHERE id = ANY($1)").bind(ids).execute(conn).await?;
    Ok(())
}

/// Names the job that a new one repeats.
pub async fn set_retry_of(conn: &mut PgConnection, id: JobId, old: JobId) -> Result<(), DbError> {
    let done = sqlx::query("UPDATE jobs SET retry_of = $2 WHERE id = $1").bind(id).bind(old).execute(conn).await?;
    super::ensure_rows("jobs", &done, 1)
}

/// Where jobs of a target run, and under which limits.
#[derive(Debug, Clone, FromRow)]
pub struct Place {
    pub service_id: ServiceId,
    pub server_id: ServerId,
    pub stores: Vec<String>,
    pub required_copies: i32,
    pub worker_group: String,
    pub deadline_s: Option<i32>,
    pub stall_s: Option<i32>,
}

/// Looks it up; `None`: no such target.
pub async fn place(conn: &mut PgConnection, target: TargetId) -> Result<Option<Place>, DbError> {
    Ok(sqlx::query_as("SELECT service_id, server_id, stores, required_copies, worker_group, deadline_s, stall_s FROM targets WHERE id = $1")
        .bind(target)
        .fetch_optional(conn)
        .await?)
}
