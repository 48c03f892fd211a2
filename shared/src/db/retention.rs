//! What retention looks at and what it left behind; and saves whose time is over.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::DbError;
use crate::{
    id::{SaveId, ScheduleId, ServiceId, TargetId},
    name::Slug,
    schedule::{Block, Candidate, Cause, Retention},
};

/// What a schedule says of its saves.
#[derive(Debug, Clone)]
pub struct Rules {
    pub service_id: ServiceId,
    /// None: they stay until somebody deletes them.
    pub retention: Option<Json<Retention>>,
    /// A name of the IANA database.
    pub zone: String,
}

/// Those of a schedule that is not deleted.
pub async fn rules(conn: &mut PgConnection, id: ScheduleId) -> Result<Option<Rules>, DbError> {
    Ok(sqlx::query_as!(
        Rules,
        "SELECT service_id, retention, zone FROM schedules WHERE id = $1 AND deleted_at IS NULL",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// Locks the schedule's saves of a target that may be removed, in the order of their ids, until the transaction ends: nobody
/// begins to read one of them meanwhile, pins it or says that it is invalid.
pub async fn lock(conn: &mut PgConnection, schedule: ScheduleId, target: TargetId) -> Result<(), DbError> {
    sqlx::query_scalar!(
        "SELECT id FROM saves WHERE schedule_id = $1 AND target_id = $2 AND state = 'available' ORDER BY id FOR NO KEY UPDATE",
        schedule.0,
        target.0
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Every save of the target that is not gone, as this schedule's plan sees it, and the time by the same clock.
pub async fn candidates(
    conn: &mut PgConnection,
    schedule: ScheduleId,
    target: TargetId,
) -> Result<(Vec<Candidate>, DateTime<Utc>), DbError> {
    let now = sqlx::query_scalar!("SELECT clock_timestamp() AS \"now!\"").fetch_one(&mut *conn).await?;
    let saves = sqlx::query_file_as!(Candidate, "src/db/sql/retention_candidates.sql", schedule.0, target.0)
        .fetch_all(conn)
        .await?;
    Ok((saves, now))
}

/// What a look came to.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// How many of the schedule's saves stay.
    pub kept: usize,
    pub removed: usize,
    pub blocked: Option<&'a Block>,
    /// There is more to remove than one look removes.
    pub again: bool,
}

/// Writes what a look came to. Whether it was blocked before, and by what: a second one waits here until the first has ended.
pub async fn ran(
    conn: &mut PgConnection,
    schedule: ScheduleId,
    target: TargetId,
    run: &Run<'_>,
) -> Result<Option<Cause>, DbError> {
    sqlx::query!(
        "INSERT INTO retention_runs (schedule_id, target_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        schedule.0,
        target.0
    )
    .execute(&mut *conn)
    .await?;
    let before = sqlx::query_scalar!(
        "SELECT blocked FROM retention_runs WHERE schedule_id = $1 AND target_id = $2 FOR UPDATE",
        schedule.0,
        target.0
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE retention_runs SET ran_at = clock_timestamp(), kept = $3, removed = $4, blocked = $5, blocked_save_id = $6,
             blocked_since = CASE WHEN $5::text IS NULL THEN NULL WHEN blocked = $5 THEN blocked_since ELSE clock_timestamp() END,
             due_at = CASE WHEN $7 THEN clock_timestamp() ELSE due_at END
         WHERE schedule_id = $1 AND target_id = $2",
        schedule.0,
        target.0,
        i32::try_from(run.kept).unwrap_or(i32::MAX),
        i32::try_from(run.removed).unwrap_or(i32::MAX),
        run.blocked.map(|block| block.cause.as_str()),
        run.blocked.map(|block| block.save_id) as _,
        run.again
    )
    .execute(conn)
    .await?;
    Ok(before)
}

/// Schedules and targets where something has happened since the last look. Those of schedules that keep everything are only
/// ticked off.
pub async fn take_due(conn: &mut PgConnection, limit: i64) -> Result<Vec<(ScheduleId, TargetId)>, DbError> {
    let rows = sqlx::query!(
        r#"UPDATE retention_runs r SET due_at = NULL FROM schedules s
           WHERE s.id = r.schedule_id AND (r.schedule_id, r.target_id) IN (
               SELECT schedule_id, target_id FROM retention_runs WHERE due_at IS NOT NULL ORDER BY due_at LIMIT $1
               FOR UPDATE SKIP LOCKED)
           RETURNING r.schedule_id, r.target_id,
               (s.deleted_at IS NULL AND coalesce(jsonb_typeof(s.retention) = 'object', false)) AS "is_wanted!""#,
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().filter(|row| row.is_wanted).map(|row| (row.schedule_id, row.target_id)).collect())
}

/// A target that a schedule has saved, and the last look at its saves.
#[derive(Debug, Clone)]
pub struct RunRow {
    pub target_id: TargetId,
    pub target: Slug,
    pub ran_at: Option<DateTime<Utc>>,
    pub kept: Option<i32>,
    pub removed: Option<i32>,
    pub blocked: Option<Cause>,
    pub blocked_since: Option<DateTime<Utc>>,
}

/// By the names of targets; `visible` limits it to targets of those services. Answers the page and the whole count.
pub async fn targets(
    conn: &mut PgConnection,
    schedule: ScheduleId,
    visible: Option<&[ServiceId]>,
    target: Option<TargetId>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<RunRow>, i64), DbError> {
    let rows = sqlx::query_as!(
        RunRow,
        "SELECT r.target_id, t.name AS target, r.ran_at, r.kept, r.removed, r.blocked, r.blocked_since
         FROM retention_runs r JOIN targets t ON t.id = r.target_id
         WHERE r.schedule_id = $1 AND ($2::uuid[] IS NULL OR t.service_id = ANY ($2)) AND ($3::uuid IS NULL OR t.id = $3)
         ORDER BY t.name, t.id LIMIT $4 OFFSET $5",
        schedule.0,
        visible as _,
        target as _,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM retention_runs r JOIN targets t ON t.id = r.target_id
         WHERE r.schedule_id = $1 AND ($2::uuid[] IS NULL OR t.service_id = ANY ($2)) AND ($3::uuid IS NULL OR t.id = $3)",
        schedule.0,
        visible as _,
        target as _
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// Saves whose time is over and which nobody has pinned; each is tried once an hour.
pub async fn take_expired(conn: &mut PgConnection, limit: i64) -> Result<Vec<SaveId>, DbError> {
    Ok(sqlx::query_scalar!(
        "UPDATE saves SET expiry_tried_at = clock_timestamp() WHERE id IN (
             SELECT id FROM saves WHERE expires_at < clock_timestamp() AND state IN ('available', 'failed') AND NOT pinned
               AND (expiry_tried_at IS NULL OR expiry_tried_at < clock_timestamp() - interval '1 hour')
             ORDER BY expires_at LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED)
         RETURNING id",
        limit
    )
    .fetch_all(conn)
    .await?)
}
