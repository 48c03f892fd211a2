//! The `jobs` table as people see it: insert, read, list, history, cancel. The queue's own steps are in
//! [`claim`](super::claim), [`finish`] and [`sweep`](super::sweep).

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, types::Json};

use super::{Counted, DbError, finish, outbox, span::Span};
use crate::{
    id::{AdminId, EventId, GroupId, JobId, SaveId, ServerId, ServiceId, TargetId},
    job::{JobState, Journal, Payload, Problem},
    name::DatabaseName,
    server::Engine,
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

impl NewJob {
    /// The row of the job that was just inserted.
    fn queued(&self, payload: serde_json::Value, created_at: DateTime<Utc>, next_run_at: DateTime<Utc>) -> JobRow {
        JobRow {
            id: self.id,
            kind: self.payload.kind().to_owned(),
            state: JobState::Queued,
            phase: None,
            payload: Json(payload),
            priority: self.priority,
            worker_group: self.worker_group.clone(),
            service_id: self.service_id,
            target_id: self.target_id,
            server_id: self.server_id,
            save_id: self.save_id,
            reads_save_id: self.reads_save_id,
            exclusive_key: self.exclusive_key.clone(),
            group_id: self.group_id,
            after_job_id: self.after_job_id,
            retry_of: self.retry_of,
            attempt: 0,
            max_attempts: self.max_attempts,
            epoch: 0,
            lease_owner: None,
            lease_until: None,
            cancel_requested_at: None,
            next_run_at,
            deadline_s: self.deadline_s,
            stall_s: self.stall_s,
            progress: Json(json!({})),
            journal: None,
            result: None,
            error: None,
            requested_by: self.requested_by,
            request_id: self.request_id.clone(),
            trace_id: self.trace_id.clone(),
            created_at,
            started_at: None,
            finished_at: None,
        }
    }
}

/// A job as it stands.
#[derive(Debug, Clone)]
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
    pub journal: Option<Json<Journal>>,
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
#[derive(Debug, Clone)]
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
    pub service_id: Option<ServiceId>,
    pub target_id: Option<TargetId>,
    pub kind: Option<String>,
    pub state: Option<JobState>,
    pub group_id: Option<GroupId>,
    /// Oldest first; else newest first.
    pub oldest_first: bool,
}

impl JobFilter {
    /// Whether the totals of `job_counts` tell how many there are.
    fn is_counted(&self) -> bool {
        self.group_id.is_none()
    }
}

/// Adds a queued job and the event that says so, and answers the job as it stands then. It starts when a worker claims it;
/// [`crate::queue::hint`] makes that soon, and is called for in the same transaction: the row says that workers were told.
pub async fn insert(conn: &mut PgConnection, job: &NewJob) -> Result<JobRow, DbError> {
    let payload = serde_json::to_value(&job.payload).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let event = finish::queued_event(job);
    let written = sqlx::query!(
        r#"WITH told AS (
             INSERT INTO outbox (id, type, subject, aggregate, service_id, service, trace_id, data)
             VALUES ($21, $22, $23, $24, $6, (SELECT name FROM services WHERE id = $6), $20, $25))
         INSERT INTO jobs (id, kind, payload, priority, worker_group, service_id, target_id, server_id, save_id,
             reads_save_id, exclusive_key, group_id, after_job_id, retry_of, max_attempts, deadline_s, stall_s,
             requested_by, request_id, trace_id, dispatched_at)
         VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18,$19,$20,clock_timestamp())
         RETURNING created_at, next_run_at"#,
        job.id.0,
        job.payload.kind(),
        payload,
        job.priority,
        job.worker_group,
        job.service_id as _,
        job.target_id as _,
        job.server_id as _,
        job.save_id as _,
        job.reads_save_id as _,
        job.exclusive_key,
        job.group_id as _,
        job.after_job_id as _,
        job.retry_of as _,
        job.max_attempts,
        job.deadline_s,
        job.stall_s,
        job.requested_by as _,
        job.request_id,
        job.trace_id,
        EventId::generate().0,
        event.kind,
        event.subject,
        event.aggregate,
        event.data
    )
    .fetch_one(conn)
    .await?;
    Ok(job.queued(payload, written.created_at, written.next_run_at))
}

/// As [`insert`], of many backups in as many statements; what only other jobs have is left out.
pub async fn insert_all(tx: &mut PgConnection, jobs: &[&NewJob]) -> Result<(), DbError> {
    let ids: Vec<_> = jobs.iter().map(|job| job.id.0).collect();
    let kinds: Vec<_> = jobs.iter().map(|job| job.payload.kind().to_owned()).collect();
    let payloads: Vec<_> = jobs.iter().map(|job| Json(&job.payload)).collect();
    let priorities: Vec<_> = jobs.iter().map(|job| job.priority).collect();
    let groups: Vec<_> = jobs.iter().map(|job| job.worker_group.clone()).collect();
    let services: Vec<_> = jobs.iter().map(|job| job.service_id.map(|id| id.0)).collect();
    let targets: Vec<_> = jobs.iter().map(|job| job.target_id.map(|id| id.0)).collect();
    let servers: Vec<_> = jobs.iter().map(|job| job.server_id.map(|id| id.0)).collect();
    let saves: Vec<_> = jobs.iter().map(|job| job.save_id.map(|id| id.0)).collect();
    let keys: Vec<_> = jobs.iter().map(|job| job.exclusive_key.clone()).collect();
    let together: Vec<_> = jobs.iter().map(|job| job.group_id.map(|id| id.0)).collect();
    let attempts: Vec<_> = jobs.iter().map(|job| job.max_attempts).collect();
    let deadlines: Vec<_> = jobs.iter().map(|job| job.deadline_s).collect();
    let stalls: Vec<_> = jobs.iter().map(|job| job.stall_s).collect();
    let requested: Vec<_> = jobs.iter().map(|job| job.requested_by.map(|id| id.0)).collect();
    let requests: Vec<_> = jobs.iter().map(|job| job.request_id.clone()).collect();
    let traces: Vec<_> = jobs.iter().map(|job| job.trace_id.clone()).collect();
    sqlx::query!(
        "INSERT INTO jobs (id, kind, payload, priority, worker_group, service_id, target_id, server_id, save_id, exclusive_key,
             group_id, max_attempts, deadline_s, stall_s, requested_by, request_id, trace_id, dispatched_at)
         SELECT *, clock_timestamp() FROM unnest($1::uuid[], $2::text[], $3::jsonb[], $4::smallint[], $5::text[], $6::uuid[], $7::uuid[], $8::uuid[],
             $9::uuid[], $10::text[], $11::uuid[], $12::int[], $13::int[], $14::int[], $15::uuid[], $16::text[], $17::text[])",
        &ids,
        &kinds,
        &payloads as _,
        &priorities,
        &groups,
        &services as _,
        &targets as _,
        &servers as _,
        &saves as _,
        &keys as _,
        &together as _,
        &attempts,
        &deadlines as _,
        &stalls as _,
        &requested as _,
        &requests as _,
        &traces as _
    )
    .execute(&mut *tx)
    .await?;
    let events: Vec<_> = jobs.iter().map(|job| finish::queued_event(job)).collect();
    outbox::insert_all(tx, &events).await
}

/// One job.
pub async fn get(conn: &mut PgConnection, id: JobId) -> Result<Option<JobRow>, DbError> {
    Ok(by_ids(conn, &[id]).await?.pop())
}

/// These jobs, in this order. The one place that lists the columns of a job: what changes jobs answers their ids, and
/// reads them here under the locks it then holds.
pub(super) async fn by_ids(conn: &mut PgConnection, ids: &[JobId]) -> Result<Vec<JobRow>, DbError> {
    Ok(sqlx::query_file_as!(JobRow, "src/db/sql/jobs_by_ids.sql", ids as _).fetch_all(conn).await?)
}

/// The statement of [`list`], for whoever looks at its plans.
pub const PAGE: &str = include_str!("sql/jobs_page.sql");

/// A page of jobs in the order of their creation, and how many there are: exactly, or counted to 10,000 of a group. A job
/// that changes meanwhile is shown as it is by then.
pub async fn list(
    conn: &mut PgConnection,
    filter: &JobFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<JobRow>, Counted), DbError> {
    let mut span = Span { limit, offset, from_end: false };
    if filter.is_counted() && Span::is_far(offset) {
        let (_, total) = page(conn, filter, Span { limit: 0, offset: 0, from_end: false }).await?;
        span = Span::of(limit, offset, total);
    }
    let (mut ids, total) = page(conn, filter, span).await?;
    if span.from_end {
        ids.reverse();
    }
    let total = if filter.is_counted() { Counted::exactly(total) } else { Counted::of(total) };
    Ok((by_ids(conn, &ids).await?, total))
}

/// The ids of these rows in the order they are read in, and the total.
async fn page(conn: &mut PgConnection, filter: &JobFilter, span: Span) -> Result<(Vec<JobId>, i64), DbError> {
    // Not checked by the macros, which keep a statement prepared: PostgreSQL would come to one plan for all filters.
    Ok(sqlx::query_as(PAGE)
        .bind(filter.service_ids.as_deref())
        .bind(filter.service_id)
        .bind(filter.target_id)
        .bind(filter.kind.as_deref())
        .bind(filter.state.map(JobState::as_str))
        .bind(filter.group_id)
        .bind(span.limit)
        .bind(span.offset)
        .bind(filter.oldest_first != span.from_end)
        .bind((!filter.is_counted()).then_some(Counted::BOUND + 1))
        .persistent(false)
        .fetch_one(conn)
        .await?)
}

/// A job's history, oldest first.
pub async fn history(conn: &mut PgConnection, id: JobId) -> Result<Vec<JobEventRow>, DbError> {
    Ok(sqlx::query_as!(
        JobEventRow,
        "SELECT id, at, from_state, to_state, phase, attempt, epoch, worker, error FROM job_events WHERE job_id = $1 ORDER BY id",
        id.0
    )
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
    /// It may have passed the point of no return: it has a journal.
    TooLate,
    /// It had ended before.
    Terminal(JobState),
}

/// Cancels a queued job at once and asks a running one's worker to. Repeating it changes nothing.
/// A queued job that is cancelled takes its pending save and its dependants with it:
/// the caller does that with [`finish::after_terminal`].
pub async fn request_cancel(
    conn: &mut PgConnection,
    id: JobId,
    by: Option<AdminId>,
) -> Result<Option<CancelOutcome>, DbError> {
    let row =
        sqlx::query!("SELECT state, journal IS NOT NULL AS \"committing!\" FROM jobs WHERE id = $1 FOR UPDATE", id.0)
            .fetch_optional(&mut *conn)
            .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(match row.state {
        // What stands in the journal may have happened: only a look at the target can tell.
        JobState::Queued | JobState::Running if row.committing => CancelOutcome::TooLate,
        JobState::Queued => {
            sqlx::query!(
                "UPDATE jobs SET state = 'cancelled', cancel_requested_at = clock_timestamp(), cancel_requested_by = $2,
                     finished_at = clock_timestamp() WHERE id = $1 AND state = 'queued'",
                id.0,
                by as _
            )
            .execute(conn)
            .await?;
            CancelOutcome::Cancelled
        }
        JobState::Running => {
            sqlx::query!(
                "UPDATE jobs SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
                     cancel_requested_by = coalesce(cancel_requested_by, $2) WHERE id = $1 AND state = 'running'",
                id.0,
                by as _
            )
            .execute(&mut *conn)
            .await?;
            sqlx::query!("SELECT pg_notify('holdfast_cancel', $1)", id.to_string()).execute(conn).await?;
            CancelOutcome::Requested
        }
        terminal => CancelOutcome::Terminal(terminal),
    }))
}

/// Names the job that a new one repeats.
pub async fn set_retry_of(conn: &mut PgConnection, id: JobId, old: JobId) -> Result<(), DbError> {
    let done = sqlx::query!("UPDATE jobs SET retry_of = $2 WHERE id = $1", id.0, old.0).execute(conn).await?;
    super::ensure_rows("jobs", &done, 1)
}

/// Where jobs of a target run, and under which limits.
#[derive(Debug, Clone)]
pub struct Place {
    pub target_id: TargetId,
    pub service_id: ServiceId,
    pub server_id: ServerId,
    pub engine: Engine,
    pub database: DatabaseName,
    pub stores: Vec<String>,
    pub required_copies: i32,
    pub worker_group: String,
    pub deadline_s: Option<i32>,
    pub stall_s: Option<i32>,
}

/// Looks it up; `None`: no such target.
pub async fn place(conn: &mut PgConnection, target: TargetId) -> Result<Option<Place>, DbError> {
    Ok(places(conn, &[target]).await?.pop())
}

/// As [`place`], of many in no order; a target that is none is not among them.
pub async fn places(conn: &mut PgConnection, targets: &[TargetId]) -> Result<Vec<Place>, DbError> {
    // The subselect hides how many there are: one plan serves for all.
    Ok(sqlx::query_as!(
        Place,
        "SELECT t.id AS target_id, t.service_id, t.server_id, s.engine, t.database, t.stores, t.required_copies, t.worker_group,
             t.deadline_s, t.stall_s
         FROM unnest((SELECT $1::uuid[])) AS wanted (id)
         JOIN targets t ON t.id = wanted.id JOIN servers s ON s.id = t.server_id",
        targets as _
    )
    .fetch_all(conn)
    .await?)
}
