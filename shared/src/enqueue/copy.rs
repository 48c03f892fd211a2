//! Asking for a copy that is missing or corrupt to be made again from a good one.

use sqlx::PgConnection;

use super::{Asked, EnqueueError, new_job, submit};
use crate::{
    db::{jobs, repair, saves},
    id::{JobId, SaveId},
    job::{CopyJob, Payload},
    name::Slug,
    save::{CopyState, SaveState},
};

/// Enqueues the repair of one copy. Where a job does it already, that one is answered.
pub async fn copy(tx: &mut PgConnection, save_id: SaveId, store: Slug, asked: &Asked) -> Result<JobId, EnqueueError> {
    let save = saves::lock_to_read(tx, save_id).await?.ok_or(EnqueueError::SaveMissing(save_id))?;
    if save.state != SaveState::Available {
        return Err(EnqueueError::SaveNotReadable { id: save.id, state: save.state });
    }
    let copies = saves::copies(tx, save_id).await?;
    let Some(wanted) = copies.iter().find(|copy| copy.store == store.as_str()) else {
        let known = copies.iter().map(|copy| copy.store.as_str()).collect::<Vec<_>>().join(", ");
        return Err(EnqueueError::CopyMissing { store: store.to_string(), known });
    };
    if !matches!(wanted.state, CopyState::Missing | CopyState::Corrupt) {
        return Err(EnqueueError::CopyNotBroken { id: save_id, store: store.to_string(), state: wanted.state });
    }
    if !copies.iter().any(|copy| copy.state == CopyState::Good) {
        return Err(EnqueueError::NoGoodCopy(save_id));
    }
    if let Some(job) = repair::under_way(tx, save_id, store.as_str()).await? {
        return Ok(job);
    }
    let place = jobs::place(tx, save.target_id).await?.ok_or(EnqueueError::TargetMissing(save.target_id))?;
    let id = JobId::generate();
    let mut row = new_job(id, Payload::Copy(CopyJob { v: 1, save_id, store }), save.target_id, &place, asked);
    row.reads_save_id = Some(save_id);
    // The target's server is not touched, so none of its places is taken.
    row.server_id = None;
    submit(tx, &row).await?;
    Ok(id)
}
