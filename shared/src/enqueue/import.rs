//! Taking in a dump that somebody brings: its bytes are here, so its job never waits.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Asked, EnqueueError, new_job};
use crate::{
    db::{
        claim, finish,
        jobs::{self, JobRow},
        saves,
    },
    id::{JobId, SaveId, TargetId},
    job::{ImportJob, Payload},
    save::{Mode, Origin, Scope},
};

/// A dump that is brought.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    pub target_id: TargetId,
    pub note: String,
    /// Who receives it, as leases name it.
    pub owner: String,
    pub lease: Duration,
}

/// Writes the job of an import, which runs at once where its bytes are, and its pending save. Refused while another job
/// works on the target. What it becomes is nobody's word but the sender's: the save is untrusted (guarantees D6).
pub async fn import(
    tx: &mut PgConnection,
    wanted: ImportRequest,
    asked: &Asked,
) -> Result<(JobRow, SaveId), EnqueueError> {
    let target_id = wanted.target_id;
    let place = jobs::place(tx, target_id).await?.ok_or(EnqueueError::TargetMissing(target_id))?;
    let (job, save) = (JobId::generate(), SaveId::generate());
    saves::insert(
        tx,
        &saves::NewSave {
            id: save,
            target_id,
            service_id: place.service_id,
            scope: Scope::Full,
            origin: Origin::Import,
            mode: Mode::All,
            stores: place.stores.clone(),
            required_copies: place.required_copies,
            requested_by: asked.by,
            note: wanted.note,
        },
    )
    .await?;
    saves::distrust(tx, save).await?;
    let payload = Payload::Import(ImportJob { v: 1, save_id: save, target_id });
    let mut row = new_job(job, payload, target_id, &place, asked);
    row.save_id = Some(save);
    row.exclusive_key = Some(format!("target:{target_id}"));
    // The target's server is at most asked what the database is like, so none of its places is taken.
    row.server_id = None;
    // The bytes are gone with the request.
    row.max_attempts = 1;
    jobs::insert(tx, &row).await?;
    saves::set_job(tx, save, job).await?;
    finish::announce(tx, job).await?;
    match claim::take(tx, job, &wanted.owner, wanted.lease).await {
        Ok(Some(row)) => Ok((row, save)),
        Ok(None) => Err(EnqueueError::TargetBusy(target_id)),
        Err(error) if error.constraint() == Some("jobs_exclusive") => Err(EnqueueError::TargetBusy(target_id)),
        Err(error) => Err(error.into()),
    }
}
