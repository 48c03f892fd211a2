//! Slots: the planned firings of schedules, each a row whatever became of it.
//!
//! A scheduler works under the row locks of the schedules that it took: others pass over them, and find the slots decided.
//! All instants are the server's `clock_timestamp()`: no machine's clock decides what is due.

use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::{PgConnection, types::Json};

use super::{
    DbError, ensure_rows,
    jobs::JobRow,
    outbox,
    schedules::{self, ScheduleRow},
};
use crate::{
    event::NewEvent,
    id::{GroupId, SaveId, ScheduleId, SlotId},
    job::{JobState, Problem},
    schedule::SlotState,
};

/// A firing, planned or past.
#[derive(Debug, Clone)]
pub struct SlotRow {
    pub id: SlotId,
    pub schedule_id: ScheduleId,
    /// The moment that the expression names.
    pub at: DateTime<Utc>,
    /// That moment with its jitter.
    pub fires_at: DateTime<Utc>,
    pub state: SlotState,
    /// Why it was skipped or missed, what could not be reached, or which targets of many were left out.
    pub reason: Option<String>,
    /// The jobs that it enqueued.
    pub group_id: Option<GroupId>,
    pub by_hand: bool,
    pub decided_at: Option<DateTime<Utc>>,
}

/// A firing to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewSlot {
    pub schedule_id: ScheduleId,
    pub at: DateTime<Utc>,
    pub fires_at: DateTime<Utc>,
}

/// What became of a planned slot.
#[derive(Debug, Clone)]
pub struct Decided {
    pub id: SlotId,
    pub state: SlotState,
    pub reason: Option<String>,
    pub group_id: Option<GroupId>,
}

/// Problems of a job that mean: what it was to save could not be reached.
const UNREACHABLE: &[&str] = &["server_unreachable", "connection_lost", "too_many_connections"];

/// What time it is.
pub async fn now(conn: &mut PgConnection) -> Result<DateTime<Utc>, DbError> {
    Ok(sqlx::query_scalar!("SELECT clock_timestamp() AS \"now!\"").fetch_one(conn).await?)
}

/// Seconds until something is due that nobody has decided: negative where it was due before; none: nothing is planned.
pub async fn due_in(conn: &mut PgConnection) -> Result<Option<f64>, DbError> {
    let seconds = sqlx::query_scalar!(
        "SELECT extract(epoch FROM least(
             (SELECT min(fires_at) FROM schedule_slots WHERE state = 'planned'),
             (SELECT min(planned_until) FROM schedules WHERE deleted_at IS NULL)) - clock_timestamp())::float8"
    )
    .fetch_one(conn)
    .await?;
    Ok(seconds)
}

/// Takes schedules of which something is due: they are locked until the transaction ends, and those that another
/// scheduler has taken are passed over, as are `except`.
pub async fn take_due(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    limit: i64,
    except: &[ScheduleId],
) -> Result<Vec<ScheduleRow>, DbError> {
    let mut taken = sqlx::query_scalar!(
        "SELECT id FROM schedules WHERE deleted_at IS NULL AND planned_until <= $1 AND id <> ALL ($3)
         ORDER BY planned_until LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED",
        now,
        limit,
        except as _
    )
    .fetch_all(&mut *tx)
    .await?;
    let put_off = sqlx::query_scalar!(
        "SELECT s.id FROM schedule_slots k JOIN schedules s ON s.id = k.schedule_id
         WHERE k.state = 'planned' AND k.fires_at <= $1 AND s.id <> ALL ($3)
         ORDER BY k.fires_at LIMIT $2 FOR NO KEY UPDATE OF s SKIP LOCKED",
        now,
        limit,
        except as _
    )
    .fetch_all(&mut *tx)
    .await?;
    for id in put_off {
        if !taken.contains(&id) {
            taken.push(id);
        }
    }
    schedules::by_ids(tx, &taken).await
}

/// Writes planned slots; a moment that has its slot keeps it.
pub async fn insert_planned(tx: &mut PgConnection, slots: &[NewSlot]) -> Result<(), DbError> {
    let ids: Vec<_> = slots.iter().map(|_| SlotId::generate().0).collect();
    let schedules: Vec<_> = slots.iter().map(|slot| slot.schedule_id.0).collect();
    let (at, fires_at): (Vec<_>, Vec<_>) = slots.iter().map(|slot| (slot.at, slot.fires_at)).unzip();
    sqlx::query!(
        "INSERT INTO schedule_slots (id, schedule_id, at, fires_at)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
         ON CONFLICT (schedule_id, at) DO NOTHING",
        &ids,
        &schedules,
        &at,
        &fires_at
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Says up to where each of these schedules is planned. It never goes back.
pub async fn set_planned_until(tx: &mut PgConnection, until: &[(ScheduleId, DateTime<Utc>)]) -> Result<(), DbError> {
    let (ids, until): (Vec<_>, Vec<_>) = until.iter().map(|(id, until)| (id.0, *until)).unzip();
    let done = sqlx::query!(
        "UPDATE schedules s SET planned_until = greatest(s.planned_until, p.until)
         FROM unnest($1::uuid[], $2::timestamptz[]) AS p (id, until) WHERE s.id = p.id",
        &ids,
        &until
    )
    .execute(tx)
    .await?;
    ensure_rows("schedules", &done, ids.len() as u64)
}

/// The slots of these schedules that are due and not decided, in the order of their moments.
pub async fn due(tx: &mut PgConnection, schedules: &[ScheduleId], now: DateTime<Utc>) -> Result<Vec<SlotRow>, DbError> {
    Ok(sqlx::query_as!(
        SlotRow,
        "SELECT id, schedule_id, at, fires_at, state, reason, group_id, by_hand, decided_at FROM schedule_slots
         WHERE schedule_id = ANY ($1) AND state = 'planned' AND fires_at <= $2 ORDER BY schedule_id, at",
        schedules as _,
        now
    )
    .fetch_all(tx)
    .await?)
}

/// Those of the schedules of which a slot's jobs have not ended.
pub async fn busy(tx: &mut PgConnection, schedules: &[ScheduleId]) -> Result<Vec<ScheduleId>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT wanted.id AS "id!: ScheduleId" FROM unnest($1::uuid[]) AS wanted (id)
         WHERE EXISTS (
             SELECT FROM (SELECT group_id FROM schedule_slots WHERE schedule_id = wanted.id AND group_id IS NOT NULL
                          ORDER BY at DESC LIMIT 10) last
             JOIN jobs j ON j.group_id = last.group_id
             WHERE j.state IN ('queued', 'running') AND j.kind IN ('backup', 'discover'))"#,
        schedules as _
    )
    .fetch_all(tx)
    .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Writes what became of planned slots, in the transaction that makes it true.
pub async fn decide(tx: &mut PgConnection, decided: &[Decided]) -> Result<(), DbError> {
    let ids: Vec<_> = decided.iter().map(|one| one.id.0).collect();
    let states: Vec<_> = decided.iter().map(|one| one.state.as_str().to_owned()).collect();
    let reasons: Vec<Option<String>> = decided.iter().map(|one| one.reason.clone()).collect();
    let groups: Vec<_> = decided.iter().map(|one| one.group_id.map(|id| id.0)).collect();
    let done = sqlx::query!(
        "UPDATE schedule_slots k SET state = d.state, reason = d.reason, group_id = d.group_id, decided_at = clock_timestamp()
         FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[]) AS d (id, state, reason, group_id)
         WHERE k.id = d.id AND k.state = 'planned'",
        &ids,
        &states,
        &reasons as _,
        &groups as _
    )
    .execute(tx)
    .await?;
    ensure_rows("schedule_slots", &done, decided.len() as u64)
}

/// A slot of now that somebody asked for, and that has run. It is not of the plan.
pub async fn insert_by_hand(
    tx: &mut PgConnection,
    schedule: ScheduleId,
    group: GroupId,
    reason: Option<&str>,
) -> Result<SlotRow, DbError> {
    Ok(sqlx::query_as!(
        SlotRow,
        "INSERT INTO schedule_slots (id, schedule_id, at, fires_at, state, reason, group_id, by_hand, decided_at)
         SELECT $1, $2, now, now, 'ran', $4, $3, true, now FROM clock_timestamp() AS now
         RETURNING id, schedule_id, at, fires_at, state, reason, group_id, by_hand, decided_at",
        SlotId::generate().0,
        schedule.0,
        group.0,
        reason
    )
    .fetch_one(tx)
    .await?)
}

/// A schedule's slots, newest first, in this state if one is named. Answers the page and the whole count.
pub async fn list(
    conn: &mut PgConnection,
    schedule: ScheduleId,
    state: Option<SlotState>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<SlotRow>, i64), DbError> {
    let state = state.map(SlotState::as_str);
    let rows = sqlx::query_as!(
        SlotRow,
        "SELECT id, schedule_id, at, fires_at, state, reason, group_id, by_hand, decided_at FROM schedule_slots
         WHERE schedule_id = $1 AND ($2::text IS NULL OR state = $2) ORDER BY at DESC LIMIT $3 OFFSET $4",
        schedule.0,
        state,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM schedule_slots WHERE schedule_id = $1 AND ($2::text IS NULL OR state = $2)",
        schedule.0,
        state
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// The schedule that a save was made for.
pub async fn schedule_of(conn: &mut PgConnection, save: SaveId) -> Result<Option<ScheduleId>, DbError> {
    let found = sqlx::query!("SELECT schedule_id FROM saves WHERE id = $1", save.0).fetch_optional(conn).await?;
    Ok(found.and_then(|row| row.schedule_id))
}

/// Says of the slot that asked for a job which failed, that what it was to save could not be reached, where that is why.
pub async fn note_failure(tx: &mut PgConnection, job: &JobRow) -> Result<(), DbError> {
    let (JobState::Failed, Some(group), Some(Json(problem))) = (job.state, job.group_id, &job.error) else {
        return Ok(());
    };
    if !UNREACHABLE.contains(&problem.code.as_str()) || !matches!(job.kind.as_str(), "backup" | "discover") {
        return Ok(());
    }
    let slot = sqlx::query!(
        r#"UPDATE schedule_slots k SET state = 'unreachable', reason = $2 FROM schedules s
         WHERE k.group_id = $1 AND k.state = 'ran' AND s.id = k.schedule_id
         RETURNING k.id, k.schedule_id, k.at, s.name, s.service_id"#,
        group.0,
        problem.message
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(slot) = slot else { return Ok(()) };
    let event = NewEvent {
        kind: "slot.unreachable".to_owned(),
        subject: format!("schedules/{}", slot.schedule_id),
        aggregate: format!("schedule:{}", slot.schedule_id),
        service: Some(slot.service_id),
        trace_id: job.trace_id.clone(),
        data: json!({
            "schedule_id": slot.schedule_id, "schedule": slot.name, "slot_id": slot.id, "at": slot.at, "group_id": group,
            "job_id": job.id, "target_id": job.target_id, "error": without_hint(problem),
        }),
    };
    outbox::insert(tx, &event).await
}

fn without_hint(problem: &Problem) -> serde_json::Value {
    json!({ "code": problem.code, "message": problem.message })
}
