//! A schedule that fires: the jobs of one slot, in one group, in the transaction that says of the slot that it ran.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::{
    Asked, BackupRequest, DEFAULT_PRIORITY, EnqueueError, OfSchedule, Prepared, definitions, prepared, submit,
};
use crate::{
    db::{
        DbError, discovery,
        jobs::{self, Place},
        saves,
        schedules::ScheduleRow,
        slots::{self, SlotRow},
        targets,
    },
    id::{GroupId, JobId, TargetId},
    job::{DiscoverJob, Payload},
    queue,
    save::{Mode, Origin},
    schedule::{Covers, Settings},
    server::Engine,
};

/// What a firing enqueued.
#[derive(Debug, Clone)]
pub struct Fired {
    pub group_id: GroupId,
    pub jobs: Vec<JobId>,
    /// The targets of many that are left out this time, and why, in words.
    pub left_out: Option<String>,
}

/// Backups of slots that fire together: looked up, and written, in as many statements for a hundred as for one.
#[derive(Debug, Default)]
pub struct Batch {
    prepared: Vec<Prepared>,
    /// Where jobs of the targets run; none: it was looked for and there is no such target.
    places: HashMap<TargetId, Option<Place>>,
}

impl Batch {
    /// Looks up where jobs of these targets run, if that is not known. Of all that will be needed it is best asked at once.
    pub async fn look_up(&mut self, tx: &mut PgConnection, targets: &[TargetId]) -> Result<(), DbError> {
        let unknown: Vec<_> = targets.iter().copied().filter(|id| !self.places.contains_key(id)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let found = jobs::places(tx, &unknown).await?;
        self.places.extend(unknown.into_iter().map(|id| (id, None)));
        self.places.extend(found.into_iter().map(|place| (place.target_id, Some(place))));
        Ok(())
    }

    /// Writes them, in the transaction that they were prepared in. Until then they are not there.
    pub async fn write(self, tx: &mut PgConnection) -> Result<(), EnqueueError> {
        if self.prepared.is_empty() {
            return Ok(());
        }
        let new: Vec<_> = self.prepared.iter().map(|one| &one.save).collect();
        saves::insert_all(tx, &new).await?;
        let new: Vec<_> = self.prepared.iter().map(|one| &one.job).collect();
        jobs::insert_all(tx, &new).await?;
        let ids: Vec<_> = new.iter().map(|job| job.id).collect();
        queue::hint(tx, &ids).await?;
        Ok(())
    }
}

/// Enqueues what a slot of the schedule stands for: a backup of its target, one of each target of its service (and the
/// definitions of its broker, where it has one), or the look at its server that finds out what there is to be backed up; the
/// backups when the batch is written. Where there is nothing that could be, why, in words; nothing is written then. Whether it
/// is the time to do so is the caller's to know.
pub async fn fire(
    tx: &mut PgConnection,
    schedule: &ScheduleRow,
    asked: &Asked,
    batch: &mut Batch,
) -> Result<Result<Fired, String>, EnqueueError> {
    let asked = Asked { priority: asked.priority.or(schedule.settings.priority), ..asked.clone() };
    let group_id = GroupId::generate();
    match schedule.covers {
        Covers::Server => {
            let job = discover(tx, schedule, group_id, &asked).await?;
            Ok(Ok(Fired { group_id, jobs: vec![job], left_out: None }))
        }
        Covers::Target => match schedule.target_id {
            Some(target) => backups(tx, schedule, &[target], group_id, &asked, batch).await,
            None => Ok(Err(GONE.to_owned())),
        },
        Covers::Service => {
            let (rows, _) = targets::list(tx, Some(&[schedule.service_id]), None, i64::MAX, 0).await?;
            let all: Vec<_> = rows.iter().map(|row| row.id).collect();
            if all.is_empty() {
                return Ok(Err("the service has no target: there is nothing to save".to_owned()));
            }
            let fired = backups(tx, schedule, &all, group_id, &asked, batch).await?;
            if fired.is_ok() {
                // As with a backup of the service that somebody asks for.
                definitions(tx, schedule.service_id, Some(group_id), &asked).await?;
            }
            Ok(fired)
        }
    }
}

/// Fires a schedule now because somebody asks for it, be it paused, outside of its windows or still at work: a slot that is
/// not of the plan. The schedule is [locked](crate::db::schedules::lock) by the caller.
pub async fn fire_now(
    tx: &mut PgConnection,
    schedule: &ScheduleRow,
    asked: &Asked,
) -> Result<(SlotRow, Fired), EnqueueError> {
    let mut batch = Batch::default();
    let fired = fire(tx, schedule, asked, &mut batch).await?.map_err(EnqueueError::NothingToSave)?;
    batch.write(tx).await?;
    let slot = slots::insert_by_hand(tx, schedule.id, fired.group_id, fired.left_out.as_deref()).await?;
    Ok((slot, fired))
}

const GONE: &str = "the target was deleted";

/// Prepares a backup of each of these targets that can be backed up as the schedule wants it.
pub(super) async fn backups(
    tx: &mut PgConnection,
    schedule: &ScheduleRow,
    targets: &[TargetId],
    group: GroupId,
    asked: &Asked,
    batch: &mut Batch,
) -> Result<Result<Fired, String>, EnqueueError> {
    let (mut jobs, mut left_out) = (Vec::new(), Vec::new());
    let of = OfSchedule { id: schedule.id, bytes_per_s: schedule.settings.bytes_per_s };
    batch.look_up(tx, targets).await?;
    for target in targets {
        let Some(place) = batch.places.get(target).and_then(Option::as_ref) else {
            left_out.push(GONE.to_owned());
            continue;
        };
        let Some(wanted) = wanted(&schedule.settings, *target, place.engine) else {
            let name = name(tx, *target).await?;
            left_out.push(format!("target {name}: in an archive of MongoDB structure and documents go together"));
            continue;
        };
        match prepared(place, wanted, Some(of), Some(group), asked) {
            Ok(prepared) => {
                jobs.push(prepared.job.id);
                batch.prepared.push(prepared);
            }
            Err(error @ EnqueueError::StoreUnknown { .. }) => {
                left_out.push(format!("target {}: {error}", name(tx, *target).await?));
            }
            Err(error) => return Err(error),
        }
    }
    let left_out = (!left_out.is_empty()).then(|| left_out.join("; "));
    if jobs.is_empty() {
        return Ok(Err(left_out.unwrap_or_else(|| "there is nothing to save".to_owned())));
    }
    Ok(Ok(Fired { group_id: group, jobs, left_out }))
}

/// What is asked for of one target; what a database of another kind has is left away. None: nothing that it could be.
fn wanted(settings: &Settings, target: TargetId, engine: Engine) -> Option<BackupRequest> {
    let mut request = BackupRequest {
        target_id: target,
        mode: settings.mode,
        tables: Vec::new(),
        exclude_tables: Vec::new(),
        collections: Vec::new(),
        exclude_collections: Vec::new(),
        stores: settings.stores.iter().map(ToString::to_string).collect(),
        origin: Origin::Schedule,
        note: String::new(),
    };
    if settings.makes_full_saves() {
        return Some(request);
    }
    match engine {
        Engine::Mongodb if settings.mode != Mode::All => return None,
        Engine::Mongodb => request.exclude_collections.clone_from(&settings.exclude_collections),
        Engine::Postgres => request.exclude_tables.clone_from(&settings.exclude_tables),
    }
    Some(request)
}

async fn name(tx: &mut PgConnection, target: TargetId) -> Result<String, EnqueueError> {
    Ok(targets::get(tx, target).await?.map_or_else(|| target.to_string(), |row| row.name.to_string()))
}

/// Enqueues the look at a schedule's server. It touches no target, so it excludes nothing.
async fn discover(
    tx: &mut PgConnection,
    schedule: &ScheduleRow,
    group: GroupId,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
    let id = JobId::generate();
    asked.enqueued.note(id);
    let worker_group = match schedule.server_id {
        Some(server) => discovery::worker_group(tx, server).await?,
        None => discovery::DEFAULT_GROUP.to_owned(),
    };
    let job = jobs::NewJob {
        id,
        payload: Payload::Discover(DiscoverJob { v: 1, schedule_id: schedule.id }),
        priority: asked.priority.unwrap_or(DEFAULT_PRIORITY),
        worker_group,
        service_id: Some(schedule.service_id),
        target_id: None,
        server_id: schedule.server_id,
        save_id: None,
        reads_save_id: None,
        exclusive_key: None,
        group_id: Some(group),
        after_job_id: None,
        retry_of: None,
        max_attempts: asked.attempts,
        deadline_s: None,
        stall_s: None,
        requested_by: asked.by,
        request_id: asked.request_id.clone(),
        trace_id: asked.trace_id.clone(),
    };
    submit(tx, &job).await?;
    Ok(id)
}
