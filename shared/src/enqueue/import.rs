//! Taking in a dump that somebody brings: its bytes are here, so its job never waits.

use std::time::Duration;

use sqlx::PgConnection;

use super::{Asked, EnqueueError, new_job};
use crate::{
    db::{
        claim,
        jobs::{self, JobRow},
        saves,
    },
    id::{JobId, SaveId, TargetId},
    job::{ImportInto, ImportJob, NewDatabase, Payload},
    save::{Mode, Origin, Scope},
};

/// A dump that is brought.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    pub target_id: TargetId,
    /// Of the save.
    pub note: String,
    /// The database that it becomes, if it is plain SQL. None: it becomes a save.
    pub into: Option<NewDatabase>,
    /// Who receives it, as leases name it.
    pub owner: String,
    pub lease: Duration,
}

/// An import that finds its bytes gone only takes away what the attempt that had them left behind.
const DATABASE_ATTEMPTS: i32 = 3;

/// Writes the job of an import, which runs at once where its bytes are, and its pending save. Refused while another job
/// works on the target, or makes the same database. What it becomes is nobody's word but the sender's: a save is untrusted
/// (guarantees D6).
pub async fn import(tx: &mut PgConnection, wanted: ImportRequest, asked: &Asked) -> Result<JobRow, EnqueueError> {
    let target_id = wanted.target_id;
    let place = jobs::place(tx, target_id).await?.ok_or(EnqueueError::TargetMissing(target_id))?;
    let job = JobId::generate();
    let busy = wanted
        .into
        .as_ref()
        .map_or(EnqueueError::TargetBusy(target_id), |database| EnqueueError::DatabaseBusy(database.name.clone()));
    let (into, key, save, attempts) = if let Some(database) = wanted.into {
        // As of a restore into a new database: the target itself is not written.
        let key = format!("database:{}:{}", place.server_id, database.name);
        (ImportInto::Database(database), key, None, DATABASE_ATTEMPTS)
    } else {
        // The bytes are gone with the request.
        let save = pending(tx, job, target_id, &place, wanted.note, asked).await?;
        (ImportInto::Save(save), format!("target:{target_id}"), Some(save), 1)
    };
    let mut row = new_job(job, Payload::Import(ImportJob { v: 1, target_id, into }), target_id, &place, asked);
    row.save_id = save;
    row.exclusive_key = Some(key);
    // Its bytes are here and do not wait for a place on the server.
    row.server_id = None;
    row.max_attempts = attempts;
    jobs::insert(tx, &row).await?;
    match claim::take(tx, job, &wanted.owner, wanted.lease).await {
        Ok(Some(row)) => Ok(row),
        Ok(None) => Err(busy),
        Err(error) if error.constraint() == Some("jobs_exclusive") => Err(busy),
        Err(error) => Err(error.into()),
    }
}

/// The save that is to come of it.
async fn pending(
    tx: &mut PgConnection,
    job_id: JobId,
    target_id: TargetId,
    place: &jobs::Place,
    note: String,
    asked: &Asked,
) -> Result<SaveId, EnqueueError> {
    let id = SaveId::generate();
    let save = saves::NewSave {
        id,
        job_id,
        target_id,
        service_id: place.service_id,
        scope: Scope::Full,
        origin: Origin::Import,
        mode: Mode::All,
        stores: place.stores.clone(),
        required_copies: place.required_copies,
        requested_by: asked.by,
        schedule_id: None,
        note,
    };
    saves::insert(tx, &save).await?;
    saves::distrust(tx, id).await?;
    Ok(id)
}
