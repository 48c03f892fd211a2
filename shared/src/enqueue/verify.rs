//! Asking whether a save is still what was saved.

use sqlx::PgConnection;

use super::{Asked, EnqueueError, new_job, submit};
use crate::{
    db::{jobs, saves},
    id::{JobId, SaveId},
    job::{Payload, VerifyJob},
    name::Slug,
    save::SaveState,
    schedule::Depth,
};

/// A verification that is wanted.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    pub save_id: SaveId,
    /// The copies in these stores; of all where none is named.
    pub stores: Vec<Slug>,
    /// Whether broken copies are made again from a good one.
    pub repair: bool,
    pub depth: Depth,
}

/// A drill that failed three times wants a person.
const DRILL_ATTEMPTS: i32 = 3;

/// Enqueues a verification. It excludes nothing: a copy that is replaced meanwhile is not judged.
pub async fn verify(tx: &mut PgConnection, wanted: VerifyRequest, asked: &Asked) -> Result<JobId, EnqueueError> {
    let VerifyRequest { save_id, stores, repair, depth } = wanted;
    let save = saves::lock_to_read(tx, save_id).await?.ok_or(EnqueueError::SaveMissing(save_id))?;
    if save.state != SaveState::Available {
        return Err(EnqueueError::SaveNotReadable { id: save.id, state: save.state });
    }
    let known: Vec<String> = saves::copies(tx, save_id).await?.into_iter().map(|copy| copy.store).collect();
    if let Some(store) = stores.iter().find(|store| !known.iter().any(|known| known == store.as_str())) {
        return Err(EnqueueError::CopyMissing { store: store.to_string(), known: known.join(", ") });
    }
    let place = jobs::place(tx, save.target_id).await?.ok_or(EnqueueError::TargetMissing(save.target_id))?;
    let id = JobId::generate();
    let payload = Payload::Verify(VerifyJob { v: 1, save_id, stores, repair, depth });
    let mut row = new_job(id, payload, save.target_id, &place, asked);
    row.reads_save_id = Some(save_id);
    // The target's server is not touched, so none of its places is taken.
    row.server_id = None;
    if depth == Depth::Restore {
        row.max_attempts = asked.attempts.min(DRILL_ATTEMPTS);
    }
    submit(tx, &row).await?;
    Ok(id)
}
