//! Schedules whose saves do not come: what they cover, when it was last saved, and what was said of it.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgConnection;

use super::{
    DbError, outbox,
    schedules::{self, ScheduleRow},
};
use crate::{
    event::NewEvent,
    id::{ScheduleId, TargetId},
    name::{DatabaseName, Slug},
};

/// A target that a schedule covers.
#[derive(Debug, Clone)]
pub struct CoveredTarget {
    pub schedule_id: ScheduleId,
    pub target_id: TargetId,
    pub target: Slug,
    pub database: DatabaseName,
    /// Since when there is such a target.
    pub created_at: DateTime<Utc>,
    /// When the newest available save of the schedule was begun; none: there is none.
    pub saved_at: Option<DateTime<Utc>>,
}

/// The first schedules after an id that are to fire: neither deleted nor paused.
pub async fn live(conn: &mut PgConnection, after: Option<ScheduleId>, limit: i64) -> Result<Vec<ScheduleRow>, DbError> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM schedules
         WHERE deleted_at IS NULL AND paused_at IS NULL AND ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2",
        after as _,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    schedules::by_ids(conn, &ids).await
}

/// The targets of these schedules, each with its newest save; of a server those of its schedule's service. Of a schedule
/// whose saves are full (`full`), others do not count.
pub async fn covered(
    conn: &mut PgConnection,
    schedules: &[ScheduleId],
    full: &[bool],
) -> Result<Vec<CoveredTarget>, DbError> {
    Ok(sqlx::query_as!(
        CoveredTarget,
        r#"WITH wanted AS (SELECT s.*, w.is_full FROM unnest($1::uuid[], $2::bool[]) AS w (id, is_full) JOIN schedules s ON s.id = w.id),
         covered AS (
             SELECT w.id AS schedule_id, w.is_full, t.* FROM wanted w JOIN targets t ON t.id = w.target_id WHERE w.covers = 'target'
             UNION ALL
             SELECT w.id, w.is_full, t.* FROM wanted w JOIN targets t ON t.service_id = w.service_id WHERE w.covers = 'service'
             UNION ALL
             SELECT w.id, w.is_full, t.* FROM wanted w JOIN targets t ON t.server_id = w.server_id AND t.service_id = w.service_id
             WHERE w.covers = 'server')
         SELECT c.schedule_id AS "schedule_id!: ScheduleId", c.id AS "target_id!: TargetId", c.name AS "target!: Slug",
             c.database AS "database!: DatabaseName", c.created_at AS "created_at!",
             (SELECT v.created_at FROM saves v WHERE v.schedule_id = c.schedule_id AND v.target_id = c.id AND v.state = 'available'
                AND v.valid AND (v.scope = 'full' OR NOT c.is_full) ORDER BY v.id DESC LIMIT 1) AS saved_at
         FROM covered c"#,
        schedules as _,
        full
    )
    .fetch_all(conn)
    .await?)
}

/// Says that these targets of the schedule are overdue, unless that was said. Answers whether it was not.
pub async fn tell(tx: &mut PgConnection, schedule: &ScheduleRow, targets: &[&CoveredTarget]) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE schedules SET overdue_at = clock_timestamp()
         WHERE id = $1 AND overdue_at IS NULL AND paused_at IS NULL AND deleted_at IS NULL",
        schedule.id.0
    )
    .execute(&mut *tx)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    let named: Vec<_> = targets
        .iter()
        .map(|one| json!({ "target_id": one.target_id, "target": one.target, "database": one.database, "saved_at": one.saved_at }))
        .collect();
    let data = json!({ "schedule_id": schedule.id, "schedule": schedule.name, "targets": named });
    outbox::insert(tx, &event(schedule, "backup.overdue", data)).await?;
    Ok(true)
}

/// Takes it back: nothing of the schedule is overdue any more. It is told where saves have come; a schedule that was changed
/// only begins to count anew.
pub async fn take_back(tx: &mut PgConnection, schedule: &ScheduleRow, has_saved: bool) -> Result<bool, DbError> {
    let done =
        sqlx::query!("UPDATE schedules SET overdue_at = NULL WHERE id = $1 AND overdue_at IS NOT NULL", schedule.id.0)
            .execute(&mut *tx)
            .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    if has_saved {
        let data = json!({ "schedule_id": schedule.id, "schedule": schedule.name, "overdue_at": schedule.overdue_at });
        outbox::insert(tx, &event(schedule, "backup.resumed", data)).await?;
    }
    Ok(true)
}

fn event(schedule: &ScheduleRow, kind: &str, data: serde_json::Value) -> NewEvent {
    NewEvent {
        kind: kind.to_owned(),
        subject: format!("schedules/{}", schedule.id),
        aggregate: format!("schedule:{}", schedule.id),
        service: Some(schedule.service_id),
        trace_id: None,
        data,
    }
}
