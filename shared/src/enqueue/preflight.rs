//! Asking what a restore would do.

use sqlx::PgConnection;

use super::{Asked, EnqueueError, new_job, submit};
use crate::{
    db::{jobs, saves},
    id::{GroupId, JobId},
    job::{Payload, PreflightJob, RestoreJob},
    save::SaveState,
};

/// Somebody waits for the answer, and a second question costs less than a second attempt.
const ATTEMPTS: i32 = 1;

/// Enqueues a look at a restore. It excludes nothing and is excluded by nothing.
pub async fn preflight(
    tx: &mut PgConnection,
    restore: RestoreJob,
    group: Option<GroupId>,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
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
    row.group_id = group;
    row.max_attempts = asked.attempts.min(ATTEMPTS);
    submit(tx, &row).await?;
    Ok(id)
}
