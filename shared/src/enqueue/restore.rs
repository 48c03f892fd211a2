//! Asking for a restore, for its undo, and for the end of what it put aside.

use sqlx::PgConnection;

use super::{Asked, EnqueueError, new_job, submit};
use crate::{
    db::{
        jobs,
        kept::{self, KeptRow},
        saves,
    },
    id::{GroupId, JobId, KeptId, SaveId, TargetId},
    job::{Compare, ExpireJob, KEEP_OLD_S, Method, OwnerPolicy, Part, Payload, PrivilegePolicy, RestoreJob, UndoJob},
    name::DatabaseName,
    save::{Mode, Origin, SaveState, Scope},
};

/// A restore that is wanted.
#[derive(Debug, Clone)]
pub struct RestoreRequest {
    pub save_id: SaveId,
    /// Whose server and credential; `None`: those of the save's own target.
    pub target_id: Option<TargetId>,
    pub into: Place,
    pub owner: OwnerPolicy,
    pub privileges: PrivilegePolicy,
    /// How much of the save.
    pub part: Part,
    pub compare: Compare,
}

/// Where a restore goes.
#[derive(Debug, Clone)]
pub enum Place {
    /// Into a database that does not exist yet.
    New(DatabaseName),
    /// In the place of the target's own.
    Own(Replace),
    /// A part of the save into another database that exists.
    Other(DatabaseName),
}

/// How the target's own database is replaced.
#[derive(Debug, Clone, Copy)]
pub struct Replace {
    pub method: Method,
    /// Seconds that the old database is kept after a swap.
    pub keep_old_s: u32,
    /// Whether what is there is saved first.
    pub safety: bool,
}

impl RestoreRequest {
    /// What it asks for, of a target whose own database is `own`; without a safety save.
    #[must_use]
    pub fn job(self, target_id: TargetId, own: &DatabaseName) -> RestoreJob {
        let (database, replace, in_place) = match self.into {
            Place::New(database) => (database, None, false),
            Place::Own(replace) => (own.clone(), Some(replace), true),
            Place::Other(database) => (database, None, true),
        };
        RestoreJob {
            v: 1,
            save_id: self.save_id,
            target_id,
            database,
            owner: self.owner,
            privileges: self.privileges,
            in_place,
            method: replace.map(|replace| replace.method).unwrap_or_default(),
            keep_old_s: replace.map_or(KEEP_OLD_S, |replace| replace.keep_old_s),
            safety_save_id: None,
            part: self.part,
            compare: self.compare,
            stands_by: false,
        }
    }
}

/// A restore that failed three times wants a person.
const RESTORE_ATTEMPTS: i32 = 3;
/// Nobody waits, and what is kept for longer does no harm.
const EXPIRE_ATTEMPTS: i32 = 2;

/// Enqueues a restore.
pub async fn restore(tx: &mut PgConnection, wanted: RestoreRequest, asked: &Asked) -> Result<JobId, EnqueueError> {
    enqueue(tx, wanted, None, asked).await
}

/// As [`restore`], of one that stands by: what it restores is kept beside the database, for the data set that it is one of.
pub(super) async fn stand_by(
    tx: &mut PgConnection,
    wanted: RestoreRequest,
    of: GroupId,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
    enqueue(tx, wanted, Some(of), asked).await
}

async fn enqueue(
    tx: &mut PgConnection,
    wanted: RestoreRequest,
    data_set: Option<GroupId>,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
    let save = saves::lock_to_read(tx, wanted.save_id).await?.ok_or(EnqueueError::SaveMissing(wanted.save_id))?;
    if save.state != SaveState::Available {
        return Err(EnqueueError::SaveNotAvailable { id: save.id, state: save.state });
    }
    let target_id = wanted.target_id.unwrap_or(save.target_id);
    let place = jobs::place(tx, target_id).await?.ok_or(EnqueueError::TargetMissing(target_id))?;
    let job = JobId::generate();
    let (safety_save_id, own) = match wanted.into {
        Place::Own(Replace { safety: true, .. }) => (Some(safety_save(tx, job, target_id, &place, asked).await?), true),
        Place::Own(_) => (None, true),
        Place::New(_) | Place::Other(_) => (None, false),
    };
    let restore =
        RestoreJob { safety_save_id, stands_by: data_set.is_some(), ..wanted.job(target_id, &place.database) };
    let exclusive_key = if own {
        format!("target:{target_id}")
    } else {
        // The target itself is not written; the other database is. Two restores into one name exclude each other.
        format!("database:{}:{}", place.server_id, restore.database)
    };
    let reads_save_id = Some(restore.save_id);
    let mut row = new_job(job, Payload::Restore(restore), target_id, &place, asked);
    row.reads_save_id = reads_save_id;
    row.save_id = safety_save_id;
    row.group_id = data_set;
    row.exclusive_key = Some(exclusive_key);
    row.max_attempts = asked.attempts.min(RESTORE_ATTEMPTS);
    submit(tx, &row).await?;
    Ok(job)
}

/// The pending save that the restore, or the wipe, fills with what is there.
pub(super) async fn safety_save(
    tx: &mut PgConnection,
    job_id: JobId,
    target_id: TargetId,
    place: &jobs::Place,
    asked: &Asked,
) -> Result<SaveId, EnqueueError> {
    let id = SaveId::generate();
    let stores = place.stores.clone();
    let required = place.required_copies.min(i32::try_from(stores.len()).unwrap_or(i32::MAX));
    let save = saves::NewSave {
        id,
        job_id,
        target_id,
        service_id: place.service_id,
        scope: Scope::Full,
        origin: Origin::Safety,
        mode: Mode::All,
        stores,
        required_copies: required,
        requested_by: asked.by,
        schedule_id: None,
        note: String::new(),
    };
    saves::insert(tx, &save).await?;
    saves::set_life(tx, id, asked.safety_s).await?;
    Ok(id)
}

/// Enqueues the undo of a restore or of an undo: what it put aside goes back into its place.
pub async fn undo(
    tx: &mut PgConnection,
    kept: &KeptRow,
    keep_old_s: u32,
    group: Option<GroupId>,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
    let payload =
        UndoJob { v: 1, target_id: kept.target_id, kept_id: kept.id, keep_old_s, of_data_set: group.is_some() };
    on_target(tx, Payload::Undo(payload), kept.target_id, group, asked, RESTORE_ATTEMPTS).await
}

/// Enqueues the drop of what was kept long enough.
pub async fn expire(
    tx: &mut PgConnection,
    kept_id: KeptId,
    target_id: TargetId,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
    on_target(tx, Payload::Expire(ExpireJob { v: 1, target_id, kept_id }), target_id, None, asked, EXPIRE_ATTEMPTS)
        .await
}

/// Again what a restore did not do.
pub(super) async fn restore_again(
    tx: &mut PgConnection,
    job: RestoreJob,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
    let replace = Replace { method: job.method, keep_old_s: job.keep_old_s, safety: job.safety_save_id.is_some() };
    let place = jobs::place(tx, job.target_id).await?.ok_or(EnqueueError::TargetMissing(job.target_id))?;
    let into = match (job.in_place, job.database == place.database) {
        (true, true) => Place::Own(replace),
        (true, false) => Place::Other(job.database),
        (false, _) => Place::New(job.database),
    };
    let wanted = RestoreRequest {
        save_id: job.save_id,
        target_id: Some(job.target_id),
        into,
        owner: job.owner,
        privileges: job.privileges,
        part: job.part,
        compare: job.compare,
    };
    restore(tx, wanted, asked).await
}

/// Again what an undo did not do.
pub(super) async fn undo_again(tx: &mut PgConnection, job: UndoJob, asked: &Asked) -> Result<JobId, EnqueueError> {
    let kept = kept::get(tx, job.kept_id).await?.filter(|kept| kept.is_kept).ok_or(EnqueueError::NothingKept)?;
    undo(tx, &kept, job.keep_old_s, None, asked).await
}

async fn on_target(
    tx: &mut PgConnection,
    payload: Payload,
    target_id: TargetId,
    group: Option<GroupId>,
    asked: &Asked,
    attempts: i32,
) -> Result<JobId, EnqueueError> {
    let place = jobs::place(tx, target_id).await?.ok_or(EnqueueError::TargetMissing(target_id))?;
    let job = JobId::generate();
    let mut row = new_job(job, payload, target_id, &place, asked);
    row.group_id = group;
    row.exclusive_key = Some(format!("target:{target_id}"));
    row.max_attempts = asked.attempts.min(attempts);
    submit(tx, &row).await?;
    Ok(job)
}
