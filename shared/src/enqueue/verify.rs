//! Asking whether a save is still what was saved.

use sqlx::PgConnection;

use super::{Asked, EnqueueError, new_job, submit};
use crate::{
    db::{jobs, saves},
    id::{JobId, SaveId},
    job::{Payload, VerifyJob},
    name::Slug,
    save::SaveState,
};

/// Enqueues a verification of the copies in these stores; of all where none is named. It excludes nothing: a copy that is
/// replaced meanwhile is not judged.
pub async fn verify(
    tx: &mut PgConnection,
    save_id: SaveId,
    stores: Vec<Slug>,
    repair: bool,
    asked: &Asked,
) -> Result<JobId, EnqueueError> {
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
    let mut row =
        new_job(id, Payload::Verify(VerifyJob { v: 1, save_id, stores, repair }), save.target_id, &place, asked);
    row.reads_save_id = Some(save_id);
    // The target's server is not touched, so none of its places is taken.
    row.server_id = None;
    submit(tx, &row).await?;
    Ok(id)
}
