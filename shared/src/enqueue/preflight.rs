//! Asking what a restore would do.

use sqlx::PgConnection;

use super::{Asked, EnqueueError, Place, RestoreRequest, new_job, submit};
use crate::{
    db::{jobs, saves},
    id::{JobId, TargetId},
    job::{KEEP_OLD_S, Payload, PreflightJob, RestoreJob},
    name::DatabaseName,
    save::SaveState,
};

/// Somebody waits for the answer, and a second question costs less than a second attempt.
const ATTEMPTS: i32 = 1;

impl RestoreRequest {
    /// The restore that this would be, of `target` into `database`, without its safety save.
    #[must_use]
    pub fn thought_of(self, target_id: TargetId, database: DatabaseName) -> RestoreJob {
        let (replace, in_place) = match self.into {
            Place::New(_) => (None, false),
            Place::Own(replace) => (Some(replace), true),
            Place::Other(_) => (None, true),
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
        }
    }
}

/// Enqueues a look at a restore. It excludes nothing and is excluded by nothing.
pub async fn preflight(tx: &mut PgConnection, restore: RestoreJob, asked: &Asked) -> Result<JobId, EnqueueError> {
    let save = saves::lock_to_read(tx, restore.save_id).await?.ok_or(EnqueueError::SaveMissing(restore.save_id))?;
    if save.state != SaveState::Available {
        return Err(EnqueueError::SaveNotAvailable { id: save.id, state: save.state });
    }
    let target_id = restore.target_id;
    let place = jobs::place(tx, target_id).await?.ok_or(EnqueueError::TargetMissing(target_id))?;
    let id = JobId::generate();
    let (save_id, restore) = (restore.save_id, RestoreJob { safety_save_id: None, ..restore });
    let mut row = new_job(id, Payload::Preflight(PreflightJob { v: 1, restore }), target_id, &place, asked);
    row.reads_save_id = Some(save_id);
    row.max_attempts = asked.attempts.min(ATTEMPTS);
    submit(tx, &row).await?;
    Ok(id)
}
