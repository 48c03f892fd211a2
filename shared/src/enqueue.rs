//! Asking for work: the rows of a job, the save it makes, its event and its hint, in the caller's one transaction.

mod broker;
mod copy;
mod data_set;
mod delete;
mod discovered;
mod gc;
mod import;
mod preflight;
mod restore;
mod retention;
mod slot;
mod verify;
mod wipe;

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::PgConnection;

pub use self::{
    broker::{definitions, purge},
    copy::copy,
    data_set::{DATA_SET_PRIORITY, advance, restore_data_set, resume, undo_data_set},
    delete::{Deletion, delete},
    discovered::discovered,
    gc::{GcRequest, gc},
    import::{ImportRequest, import},
    preflight::preflight,
    restore::{Place, Replace, RestoreRequest, expire, restore, undo},
    retention::{Retained, delete_unused, retain, retention, retention_plan},
    slot::{Batch, Fired, fire, fire_now},
    verify::{VerifyRequest, verify},
    wipe::{WipeRequest, wipe},
};
use crate::{
    db::{
        DbError, data_set_restores,
        jobs::{self, JobRow},
        saves, slots,
    },
    id::{AdminId, GroupId, JobId, SaveId, ScheduleId, ServiceId, TargetId},
    job::{BackupJob, JobState, Payload, ProbeJob, TableName},
    name::{CollectionName, DatabaseName, Slug},
    queue::{self, QueueError},
    save::{CopyState, Mode, Origin, SaveState, Scope},
};

/// Why nothing was enqueued.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    #[error("there is no target {0}")]
    TargetMissing(TargetId),
    #[error("there is no save {0}")]
    SaveMissing(SaveId),
    #[error("save {id} is {state}: only an available save can be restored")]
    SaveNotAvailable { id: SaveId, state: SaveState },
    #[error("save {id} is {state}: only an available save can be read")]
    SaveNotReadable { id: SaveId, state: SaveState },
    #[error("the copy of save {id} in store {store:?} is {state}: only one that is missing or corrupt is made again")]
    CopyNotBroken { id: SaveId, store: String, state: CopyState },
    #[error("save {0} has no good copy that another could be made from")]
    NoGoodCopy(SaveId),
    #[error("the save has no copy in store {store:?}: it has copies in {known}")]
    CopyMissing { store: String, known: String },
    #[error("save {id} is still being made: cancel {} first", job.map_or_else(|| "its job".to_owned(), |job| format!("job {job}")))]
    SavePending { id: SaveId, job: Option<JobId> },
    #[error("save {0} is pinned: unpin it first")]
    SavePinned(SaveId),
    #[error("save {id} is used by {kind} job {job}: wait for its end or cancel it")]
    SaveInUse { id: SaveId, job: JobId, kind: String },
    #[error("save {id} is held by data set {name}: delete the data set first")]
    SaveHeld { id: SaveId, name: Slug },
    #[error("save {0} is being downloaded: wait for the end")]
    SaveFetched(SaveId),
    #[error("save {0} is deleted already")]
    SaveDeleted(SaveId),
    #[error("save {id} is being deleted by job {job}")]
    DeletionUnderway { id: SaveId, job: JobId },
    #[error("there is no job {0}")]
    JobMissing(JobId),
    #[error("job {id} is {}: only a job that failed or was cancelled can be retried", state.as_str())]
    NotRetryable { id: JobId, state: JobState },
    #[error("the bytes of import {0} came with its request and are gone: send them again")]
    NotRepeatable(JobId),
    #[error("another job works on target {0}: wait for its end or cancel it")]
    TargetBusy(TargetId),
    #[error("another job works on a database {:?} on that server: wait for its end or cancel it", .0.as_str())]
    DatabaseBusy(DatabaseName),
    #[error("nothing that this job put aside is kept any more")]
    NothingKept,
    #[error("there is nothing to save: {0}")]
    NothingToSave(String),
    #[error("job {0} is of a schedule's slot: fire the schedule instead")]
    FireInstead(JobId),
    #[error("job {job} is of the restore of a data set: go on with that, at /v1/data-set-restores/{group}")]
    OfDataSet { job: JobId, group: GroupId },
    #[error("service {0} names no broker, or none of its queues")]
    BrokerMissing(ServiceId),
    #[error("store {store:?} is not one of the target's stores ({known})")]
    StoreUnknown { store: String, known: String },
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Who asks, how urgent it is, and how often it may be tried.
#[derive(Debug, Clone)]
pub struct Asked {
    pub by: Option<AdminId>,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    /// 0 to 9; `None`: 5.
    pub priority: Option<i16>,
    /// `jobs.attempts` of the configuration: the most for a job that a retry may help. A kind's own limit may be lower.
    pub attempts: i32,
    /// `jobs.safety_save_days` of the configuration, in seconds: how long a save lives that a restore makes first.
    pub safety_s: f64,
    /// What became of it.
    pub enqueued: Enqueued,
}

/// The jobs that were enqueued for one who asked; clones share the list. Whoever commits counts them, and answers them
/// again to a request that is repeated.
#[derive(Debug, Clone, Default)]
pub struct Enqueued(Arc<Mutex<Vec<JobId>>>);

impl Enqueued {
    /// Adds one, in the transaction that enqueues it.
    pub(crate) fn note(&self, job: JobId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(job);
    }

    /// All of them, in their order; the list is empty then.
    #[must_use]
    pub fn take(&self) -> Vec<JobId> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Asked {
    /// What Holdfast asks of itself.
    #[must_use]
    pub fn by_nobody(jobs: &crate::config::Jobs) -> Self {
        Self {
            by: None,
            request_id: None,
            trace_id: None,
            priority: None,
            attempts: jobs.attempts,
            safety_s: jobs.safety_s(),
            enqueued: Enqueued::default(),
        }
    }
}

/// A backup that is wanted.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    pub target_id: TargetId,
    pub mode: Mode,
    pub tables: Vec<TableName>,
    pub exclude_tables: Vec<TableName>,
    pub collections: Vec<CollectionName>,
    pub exclude_collections: Vec<CollectionName>,
    /// Some of the target's stores; empty: all of them.
    pub stores: Vec<String>,
    pub origin: Origin,
    pub note: String,
}

/// The schedule that a backup is for, and what it says of how fast it may go.
#[derive(Debug, Clone, Copy)]
struct OfSchedule {
    id: ScheduleId,
    bytes_per_s: Option<u64>,
}

const DEFAULT_PRIORITY: i16 = 5;
/// Somebody waits for a probe's answer, and a second question costs less than a second attempt.
const PROBE_ATTEMPTS: i32 = 1;

/// Enqueues a backup and its pending save. Where its jobs run whoever asks has looked up already, to see whether it may be.
/// The job as it was written: nothing is read for an answer.
pub async fn backup(
    tx: &mut PgConnection,
    place: &jobs::Place,
    wanted: BackupRequest,
    asked: &Asked,
) -> Result<(JobRow, SaveId), EnqueueError> {
    write(tx, prepared(place, wanted, None, None, asked)?).await
}

/// As [`backup`], as one of a group. What it refuses it refuses before anything is written: the transaction can go on
/// with the others of the group.
pub async fn backup_in(
    tx: &mut PgConnection,
    wanted: BackupRequest,
    group: Option<GroupId>,
    asked: &Asked,
) -> Result<(JobId, SaveId), EnqueueError> {
    enqueue_backup(tx, wanted, None, group, asked).await
}

async fn enqueue_backup(
    tx: &mut PgConnection,
    wanted: BackupRequest,
    of: Option<OfSchedule>,
    group: Option<GroupId>,
    asked: &Asked,
) -> Result<(JobId, SaveId), EnqueueError> {
    let place = jobs::place(tx, wanted.target_id).await?.ok_or(EnqueueError::TargetMissing(wanted.target_id))?;
    let (job, save) = write(tx, prepared(&place, wanted, of, group, asked)?).await?;
    Ok((job.id, save))
}

async fn write(tx: &mut PgConnection, backup: Prepared) -> Result<(JobRow, SaveId), EnqueueError> {
    let Prepared { save, job } = backup;
    saves::insert(tx, &save).await?;
    Ok((submit(tx, &job).await?, save.id))
}

/// A backup and its pending save, as they are to be written.
#[derive(Debug)]
struct Prepared {
    save: saves::NewSave,
    job: jobs::NewJob,
}

/// Says what a backup is to be, or why there can be none.
fn prepared(
    place: &jobs::Place,
    wanted: BackupRequest,
    of: Option<OfSchedule>,
    group: Option<GroupId>,
    asked: &Asked,
) -> Result<Prepared, EnqueueError> {
    if let Some(store) = wanted.stores.iter().find(|store| !place.stores.contains(store)) {
        return Err(EnqueueError::StoreUnknown { store: store.clone(), known: place.stores.join(", ") });
    }
    let stores = if wanted.stores.is_empty() { place.stores.clone() } else { wanted.stores };
    let (job, save) = (JobId::generate(), SaveId::generate());
    let is_full = wanted.mode == Mode::All
        && wanted.tables.is_empty()
        && wanted.exclude_tables.is_empty()
        && wanted.collections.is_empty()
        && wanted.exclude_collections.is_empty();
    let required = place.required_copies.min(i32::try_from(stores.len()).unwrap_or(i32::MAX));
    let new_save = saves::NewSave {
        id: save,
        job_id: job,
        target_id: wanted.target_id,
        service_id: place.service_id,
        scope: if is_full { Scope::Full } else { Scope::Partial },
        origin: wanted.origin,
        mode: wanted.mode,
        stores,
        required_copies: required,
        requested_by: asked.by,
        schedule_id: of.map(|of| of.id),
        note: wanted.note,
    };
    let payload = Payload::Backup(BackupJob {
        v: 1,
        save_id: save,
        target_id: wanted.target_id,
        mode: wanted.mode,
        tables: wanted.tables,
        exclude_tables: wanted.exclude_tables,
        collections: wanted.collections,
        exclude_collections: wanted.exclude_collections,
        bytes_per_s: of.and_then(|of| of.bytes_per_s),
    });
    let mut row = new_job(job, payload, wanted.target_id, place, asked);
    row.save_id = Some(save);
    row.group_id = group;
    row.exclusive_key = Some(format!("target:{}", wanted.target_id));
    Ok(Prepared { save: new_save, job: row })
}

/// Enqueues a look at a target.
pub async fn probe(tx: &mut PgConnection, target_id: TargetId, asked: &Asked) -> Result<JobId, EnqueueError> {
    let place = jobs::place(tx, target_id).await?.ok_or(EnqueueError::TargetMissing(target_id))?;
    let job = JobId::generate();
    let mut row = new_job(job, Payload::Probe(ProbeJob { v: 1, target_id }), target_id, &place, asked);
    row.max_attempts = asked.attempts.min(PROBE_ATTEMPTS);
    submit(tx, &row).await?;
    Ok(job)
}

/// Makes a new job of one that failed or was cancelled. A backup gets a new save: the failed one stays as it is.
pub async fn retry(tx: &mut PgConnection, id: JobId, asked: &Asked) -> Result<JobId, EnqueueError> {
    let old = jobs::get(tx, id).await?.ok_or(EnqueueError::JobMissing(id))?;
    if !matches!(old.state, JobState::Failed | JobState::Cancelled) {
        return Err(EnqueueError::NotRetryable { id, state: old.state });
    }
    // But for the purges, which come after all else, they go on together or not at all.
    if let Some(group) = old.group_id.filter(|_| old.kind != "purge")
        && data_set_restores::get(tx, group).await?.is_some()
    {
        return Err(EnqueueError::OfDataSet { job: id, group });
    }
    let asked = Asked { priority: asked.priority.or(Some(old.priority)), ..asked.clone() };
    let new = match old.decode()? {
        Payload::Backup(job) => {
            let before = saves::get(tx, job.save_id).await?.ok_or(EnqueueError::SaveMissing(job.save_id))?;
            let stores = saves::copies(tx, job.save_id).await?.into_iter().map(|copy| copy.store).collect();
            let wanted = BackupRequest {
                target_id: job.target_id,
                mode: job.mode,
                tables: job.tables,
                exclude_tables: job.exclude_tables,
                collections: job.collections,
                exclude_collections: job.exclude_collections,
                stores,
                origin: before.origin,
                note: before.note,
            };
            let schedule = slots::schedule_of(tx, job.save_id).await?;
            let of = schedule.map(|id| OfSchedule { id, bytes_per_s: job.bytes_per_s });
            enqueue_backup(tx, wanted, of, None, &asked).await?.0
        }
        Payload::Probe(job) => probe(tx, job.target_id, &asked).await?,
        Payload::Preflight(job) => preflight(tx, job.restore, None, &asked).await?,
        Payload::Delete(job) => match delete(tx, job.save_id, &asked).await? {
            Deletion::Enqueued(id) => id,
            Deletion::Underway(job_id) => {
                return Err(EnqueueError::DeletionUnderway { id: job.save_id, job: job_id });
            }
            Deletion::Done => return Err(EnqueueError::SaveDeleted(job.save_id)),
        },
        Payload::Gc(job) => {
            gc(tx, GcRequest { store: job.store, worker_group: old.worker_group.clone(), dry_run: job.dry_run }, &asked)
                .await?
        }
        Payload::Verify(job) => {
            let wanted =
                VerifyRequest { save_id: job.save_id, stores: job.stores, repair: job.repair, depth: job.depth };
            verify(tx, wanted, &asked).await?
        }
        Payload::Copy(job) => copy(tx, job.save_id, job.store, &asked).await?,
        Payload::Restore(job) => restore::restore_again(tx, job, &asked).await?,
        Payload::Undo(job) => restore::undo_again(tx, job, &asked).await?,
        Payload::Import(_) => return Err(EnqueueError::NotRepeatable(id)),
        Payload::Expire(job) => expire(tx, job.kept_id, job.target_id, &asked).await?,
        // What it finds is saved in the group of its slot, which is over.
        Payload::Discover(_) => return Err(EnqueueError::FireInstead(id)),
        Payload::Retention(job) => retention(tx, job.schedule_id, job.target_id, &asked).await?,
        Payload::Wipe(job) => wipe::wipe_again(tx, job, &asked).await?,
        Payload::Purge(job) => purge(tx, job.service_id, None, None, job.dry_run, &asked)
            .await?
            .ok_or(EnqueueError::BrokerMissing(job.service_id))?,
        Payload::Definitions(job) => {
            definitions(tx, job.service_id, None, &asked).await?.ok_or(EnqueueError::BrokerMissing(job.service_id))?
        }
    };
    jobs::set_retry_of(tx, new, id).await?;
    Ok(new)
}

fn new_job(id: JobId, payload: Payload, target_id: TargetId, place: &jobs::Place, asked: &Asked) -> jobs::NewJob {
    asked.enqueued.note(id);
    jobs::NewJob {
        id,
        payload,
        priority: asked.priority.unwrap_or(DEFAULT_PRIORITY),
        worker_group: place.worker_group.clone(),
        service_id: Some(place.service_id),
        target_id: Some(target_id),
        server_id: Some(place.server_id),
        save_id: None,
        reads_save_id: None,
        exclusive_key: None,
        group_id: None,
        after_job_id: None,
        retry_of: None,
        max_attempts: asked.attempts,
        deadline_s: place.deadline_s,
        stall_s: place.stall_s,
        requested_by: asked.by,
        request_id: asked.request_id.clone(),
        trace_id: asked.trace_id.clone(),
    }
}

async fn submit(tx: &mut PgConnection, job: &jobs::NewJob) -> Result<JobRow, EnqueueError> {
    let row = jobs::insert(tx, job).await?;
    queue::hint(tx, &[job.id]).await?;
    Ok(row)
}
