//! The record: what the last, fenced transaction of a job writes beside the job's own state (design §3, step 8).

pub mod copies;
pub mod removal;

use serde_json::json;
use shared::{
    db::{DbError, claim::Fence, deletion, jobs::JobRow, objects, outbox, saves},
    event::NewEvent,
    job::Payload,
};
use sqlx::PgConnection;

use crate::handler::{Done, backup::Saved};

/// Writes what follows from a job that succeeded.
pub async fn write(
    tx: &mut PgConnection,
    fence: Fence,
    job: &JobRow,
    payload: &Payload,
    done: &Done,
) -> Result<(), DbError> {
    match (done, payload) {
        (Done::Backup(saved), _) => write_save(tx, fence, job, saved).await,
        (Done::Plain(result), Payload::Restore(restore)) => {
            let event = NewEvent {
                kind: "restore.completed".to_owned(),
                subject: format!("jobs/{}", job.id),
                aggregate: format!("job:{}", job.id),
                service: job.service_id,
                trace_id: job.trace_id.clone(),
                data: json!({ "job_id": job.id, "save_id": restore.save_id, "target_id": restore.target_id,
                              "database": restore.database, "result": result }),
            };
            outbox::insert(tx, &event).await
        }
        (Done::Plain(_), Payload::Delete(delete)) => deletion::end(tx, job, delete.save_id).await,
        (Done::Plain(_), _) => Ok(()),
    }
}

async fn write_save(tx: &mut PgConnection, fence: Fence, job: &JobRow, saved: &Saved) -> Result<(), DbError> {
    let manifest = &saved.manifest;
    for (store, outcome) in &saved.copies {
        let settled = match outcome {
            Ok(stored) => {
                for (id, facts) in stored {
                    objects::set_stored(tx, *id, facts).await?;
                }
                Ok(stored.iter().map(|(_, facts)| facts.stored_bytes).sum())
            }
            Err(problem) => Err(problem),
        };
        saves::settle_copy(tx, manifest.save, store.as_str(), fence.epoch, settled).await?;
    }
    saves::make_available(tx, manifest.save, manifest, saved.raw_bytes, saved.stored_bytes).await?;
    let good: Vec<_> = saved.copies.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(store, _)| store).collect();
    let event = NewEvent {
        kind: "save.completed".to_owned(),
        subject: format!("saves/{}", manifest.save),
        aggregate: format!("save:{}", manifest.save),
        service: job.service_id,
        trace_id: job.trace_id.clone(),
        data: json!({
            "save_id": manifest.save, "target_id": job.target_id, "target": manifest.target, "job_id": job.id,
            "version": manifest.version, "scope": manifest.scope, "origin": manifest.origin, "mode": manifest.mode,
            "raw_bytes": saved.raw_bytes, "stored_bytes": saved.stored_bytes, "stores": good, "warnings": manifest.warnings,
        }),
    };
    outbox::insert(tx, &event).await
}
