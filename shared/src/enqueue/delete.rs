//! Asking for a save's end. From here on nobody can read it; its bytes go when the job runs.

use sqlx::PgConnection;

use super::{Asked, DEFAULT_PRIORITY, EnqueueError, submit};
use crate::{
    db::{data_sets, deletion, jobs, saves, tickets},
    id::{JobId, SaveId},
    job::{DeleteJob, Payload},
    save::SaveState,
};

/// What became of the wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// This new job does it.
    Enqueued(JobId),
    /// This job does it already.
    Underway(JobId),
    /// It was done before.
    Done,
}

/// Marks the save `deleting` and enqueues the job that takes its bytes away. Refused while the save is made, pinned or
/// used. Of a save that is `deleting` already, the job that works on it is answered, or a new one where the last has
/// ended without success.
///
/// The save's row is locked first: whoever enqueues or claims a reader of it waits, and then finds it `deleting`
/// ([`saves::lock_to_read`], [`crate::db::claim`]).
pub async fn delete(tx: &mut PgConnection, save_id: SaveId, asked: &Asked) -> Result<Deletion, EnqueueError> {
    let save = saves::lock(tx, save_id).await?.ok_or(EnqueueError::SaveMissing(save_id))?;
    match save.state {
        SaveState::Pending => return Err(EnqueueError::SavePending { id: save_id, job: save.job_id }),
        SaveState::Deleted => return Ok(Deletion::Done),
        SaveState::Deleting => {
            if let Some(job) = deletion::under_way(tx, save_id).await? {
                return Ok(Deletion::Underway(job));
            }
        }
        SaveState::Available | SaveState::Failed => {
            if save.pinned {
                return Err(EnqueueError::SavePinned(save_id));
            }
            if let Some(user) = deletion::user(tx, save_id).await? {
                return Err(EnqueueError::SaveInUse { id: save_id, job: user.job, kind: user.kind });
            }
            if let Some(name) = data_sets::holding(tx, save_id).await? {
                return Err(EnqueueError::SaveHeld { id: save_id, name });
            }
            if tickets::is_fetched(tx, save_id).await? {
                return Err(EnqueueError::SaveFetched(save_id));
            }
            deletion::begin(tx, &save, asked.trace_id.clone()).await?;
        }
    }
    let place = jobs::place(tx, save.target_id).await?.ok_or(EnqueueError::TargetMissing(save.target_id))?;
    let id = JobId::generate();
    asked.enqueued.note(id);
    let job = jobs::NewJob {
        id,
        payload: Payload::Delete(DeleteJob { v: 1, save_id }),
        priority: asked.priority.unwrap_or(DEFAULT_PRIORITY),
        worker_group: place.worker_group,
        service_id: Some(save.service_id),
        target_id: Some(save.target_id),
        // The target's server is not touched, so none of its places is taken.
        server_id: None,
        save_id: Some(save_id),
        reads_save_id: None,
        exclusive_key: Some(format!("save:{save_id}")),
        group_id: None,
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
    Ok(Deletion::Enqueued(id))
}
