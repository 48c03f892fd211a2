//! Letting go of saves: the job that looks, what it decides, and saves whose time is over.

use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;

use super::{Asked, Deletion, EnqueueError, delete, new_job, submit};
use crate::{
    db::{DbError, jobs, outbox, retention},
    event::NewEvent,
    id::{JobId, SaveId, ScheduleId, ServiceId, TargetId},
    job::{Payload, RetentionJob},
    schedule::{Block, Fate, Plan, Retention, plan},
};

/// Deletions that one look asks for. What is beyond is left to the next, which follows at once.
const MOST: usize = 100;
/// Whatever else there is to do goes first.
const PRIORITY: i16 = 2;

/// What a look came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Retained {
    /// Of the schedule's saves those that stay.
    pub kept: usize,
    /// Deletions that were asked for, the oldest first.
    pub removed: Vec<SaveId>,
    /// Bytes of one copy of each of these.
    pub freed_bytes: i64,
    /// To be removed, and used by then.
    pub held: usize,
    /// Left to the next look.
    pub remaining: usize,
    /// Why nothing was removed.
    pub blocked: Option<Block>,
}

/// Enqueues a look at the schedule's saves of a target.
pub async fn retention(
    tx: &mut PgConnection,
    schedule_id: ScheduleId,
    target_id: TargetId,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
    let place = jobs::place(tx, target_id).await?.ok_or(EnqueueError::TargetMissing(target_id))?;
    let id = JobId::generate();
    let asked = Asked { priority: asked.priority.or(Some(PRIORITY)), ..asked.clone() };
    let payload = Payload::Retention(RetentionJob { v: 1, schedule_id, target_id });
    let mut row = new_job(id, payload, target_id, &place, &asked);
    // Neither the target nor its server is touched.
    row.server_id = None;
    submit(tx, &row).await?;
    Ok(id)
}

/// The plan for a target by these rules, as things stand.
pub async fn retention_plan(
    conn: &mut PgConnection,
    schedule: ScheduleId,
    target: TargetId,
    rules: &Retention,
    zone: &str,
) -> Result<Plan, DbError> {
    let zone = zone.parse().map_err(|error: chrono_tz::ParseError| DbError::Unreadable {
        table: "schedules",
        column: "zone",
        id: schedule.to_string(),
        problem: error.to_string(),
    })?;
    let (saves, now) = retention::candidates(conn, schedule, target).await?;
    Ok(plan(&saves, rules, zone, now))
}

/// Plans anew under the saves' locks and asks for the deletions, with the events; all in the caller's one transaction. `None`:
/// the schedule is gone, or keeps everything.
pub async fn retain(
    tx: &mut PgConnection,
    job: &RetentionJob,
    asked: &Asked,
) -> Result<Option<Retained>, EnqueueError> {
    let (schedule, target) = (job.schedule_id, job.target_id);
    let Some(rules) = retention::rules(tx, schedule).await? else { return Ok(None) };
    let Some(wanted) = rules.retention else { return Ok(None) };
    let place = jobs::place(tx, target).await?.ok_or(EnqueueError::TargetMissing(target))?;
    retention::lock(tx, schedule, target).await?;
    let plan = retention_plan(tx, schedule, target, &wanted.0, &rules.zone).await?;
    let mut done = Retained {
        kept: plan.verdicts.iter().filter(|verdict| verdict.is_own && verdict.fate == Fate::Keep).count(),
        removed: Vec::new(),
        freed_bytes: 0,
        held: 0,
        remaining: 0,
        blocked: plan.blocked.clone(),
    };
    for verdict in plan.removals() {
        if done.removed.len() == MOST {
            done.remaining += 1;
        } else if delete_unused(tx, verdict.save_id, asked).await? {
            done.removed.push(verdict.save_id);
            done.freed_bytes += verdict.stored_bytes.unwrap_or_default();
        } else {
            done.held += 1;
        }
    }
    let run = retention::Run {
        kept: done.kept,
        removed: done.removed.len(),
        blocked: done.blocked.as_ref(),
        again: done.remaining > 0,
    };
    let before = retention::ran(tx, schedule, target, &run).await?;
    match &done.blocked {
        Some(block) if before != Some(block.cause) => {
            let data = json!({
                "schedule_id": schedule, "target_id": target, "cause": block.cause, "save_id": block.save_id,
                "version": block.version, "reason": block.reason,
            });
            tell(tx, "retention.blocked", job, place.service_id, data).await?;
        }
        None if !done.removed.is_empty() => {
            let data = json!({
                "schedule_id": schedule, "target_id": target, "kept": done.kept, "removed": done.removed.len(),
                "freed_bytes": done.freed_bytes, "remaining": done.remaining, "saves": done.removed,
            });
            tell(tx, "retention.applied", job, place.service_id, data).await?;
        }
        _ => {}
    }
    Ok(Some(done))
}

async fn tell(
    tx: &mut PgConnection,
    kind: &str,
    job: &RetentionJob,
    service: ServiceId,
    data: serde_json::Value,
) -> Result<(), DbError> {
    let event = NewEvent {
        kind: kind.to_owned(),
        subject: format!("schedules/{}", job.schedule_id),
        aggregate: format!("retention:{}:{}", job.schedule_id, job.target_id),
        service: Some(service),
        trace_id: None,
        data,
    };
    outbox::insert(tx, &event).await
}

/// Asks for the deletion of a save whose time is over. `false`: somebody uses it, or has pinned it meanwhile.
pub async fn delete_unused(tx: &mut PgConnection, save: SaveId, asked: &Asked) -> Result<bool, EnqueueError> {
    match delete(tx, save, asked).await {
        Ok(Deletion::Enqueued(_)) => Ok(true),
        // What was refused was so before anything was written: the transaction can go on.
        Ok(Deletion::Underway(_) | Deletion::Done)
        | Err(
            EnqueueError::SavePinned(_)
            | EnqueueError::SaveInUse { .. }
            | EnqueueError::SaveHeld { .. }
            | EnqueueError::SaveFetched(_)
            | EnqueueError::SavePending { .. },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}
