//! The record: what the last, fenced transaction of a job writes beside the job's own state (design §3, step 8).

mod copied;
pub mod copies;
mod discovered;
mod drift;
pub mod manifests;
mod missing;
pub mod reading;
pub mod removal;
mod verified;

use serde_json::json;
use shared::{
    config,
    db::{
        DbError, brokers,
        claim::Fence,
        deletion, finish,
        jobs::{self, JobRow},
        kept, objects, outbox, saves,
    },
    event::NewEvent,
    job::{ImportInto, ImportJob, Payload, Problem, Renames, Swap},
};
use sqlx::PgConnection;

use crate::handler::{Done, backup::Saved};

/// Writes what follows from a job that succeeded.
pub async fn write(
    tx: &mut PgConnection,
    config: &config::Jobs,
    fence: Fence,
    job: &JobRow,
    payload: &Payload,
    done: &Done,
) -> Result<(), DbError> {
    match (done, payload) {
        (Done::Backup(saved), _) => write_save(tx, config, fence, job, saved).await,
        (Done::Swapped { swap, result }, _) => {
            write_swap(tx, job, payload, swap).await?;
            // Its safety save is done by now, unless there was nothing to save.
            let problem = Problem::permanent("nothing_to_save", "there was no database to save", "Nothing to do.");
            finish::fail_pending_save(tx, job, &problem).await?;
            completed(tx, job, payload, result).await
        }
        (Done::Discovered { schedule, databases }, _) => discovered::write(tx, config, job, schedule, databases).await,
        (Done::Copied(copied), _) => copied::write(tx, fence, job, copied).await,
        (Done::Verified(verified), _) => verified::write(tx, config, job, verified).await,
        (Done::Renamed { renames, is_kept, result }, _) => {
            write_renames(tx, job, renames, *is_kept).await?;
            let problem = Problem::permanent("nothing_to_save", "there was nothing to save", "Nothing to do.");
            finish::fail_pending_save(tx, job, &problem).await?;
            completed(tx, job, payload, result).await
        }
        (Done::Defined(found), _) => {
            let at = (&found.url, found.vhost.as_str());
            brokers::keep(tx, found.service_id, job.id, at, &found.sha256, &found.text).await.map(drop)
        }
        (Done::Wiped { found_something, result }, _) => {
            if !found_something {
                let problem = Problem::permanent("nothing_to_save", "there was nothing to save", "Nothing to do.");
                finish::fail_pending_save(tx, job, &problem).await?;
            }
            wiped(tx, job, result).await
        }
        (Done::Plain(_), Payload::Delete(delete)) => deletion::end(tx, job, delete.save_id).await,
        (Done::Expired { kept_id, end, .. }, _) => kept::end(tx, *kept_id, *end, job.id).await,
        (Done::Plain(result), _) => completed(tx, job, payload, result).await,
    }
}

/// Tells the world what was put back, brought, or taken out of queues.
async fn completed(
    tx: &mut PgConnection,
    job: &JobRow,
    payload: &Payload,
    result: &serde_json::Value,
) -> Result<(), DbError> {
    let (kind, data) = match payload {
        // Of a data set it is told when all are in their places.
        Payload::Restore(restore) if restore.stands_by => return Ok(()),
        Payload::Undo(undo) if undo.of_data_set => return Ok(()),
        Payload::Restore(restore) => (
            "restore.completed",
            json!({ "job_id": job.id, "save_id": restore.save_id, "target_id": restore.target_id,
                    "database": restore.database, "in_place": restore.in_place, "result": result }),
        ),
        Payload::Undo(undo) => (
            "restore.undone",
            json!({ "job_id": job.id, "target_id": undo.target_id, "database": result["database"], "result": result }),
        ),
        Payload::Import(ImportJob { target_id, into: ImportInto::Database(_), .. }) => (
            "import.completed",
            json!({ "job_id": job.id, "target_id": target_id, "database": result["database"], "result": result }),
        ),
        Payload::Purge(purge) if !purge.dry_run => (
            "broker.purged",
            json!({ "job_id": job.id, "service_id": purge.service_id, "queues": result["queues"], "result": result }),
        ),
        _ => return Ok(()),
    };
    let event = NewEvent {
        kind: kind.to_owned(),
        subject: format!("jobs/{}", job.id),
        aggregate: format!("job:{}", job.id),
        service: job.service_id,
        trace_id: job.trace_id.clone(),
        data,
    };
    outbox::insert(tx, &event).await
}

/// Tells the world that a database was emptied.
async fn wiped(tx: &mut PgConnection, job: &JobRow, result: &serde_json::Value) -> Result<(), DbError> {
    let event = NewEvent {
        kind: "target.wiped".to_owned(),
        subject: format!("jobs/{}", job.id),
        aggregate: format!("job:{}", job.id),
        service: job.service_id,
        trace_id: job.trace_id.clone(),
        data: json!({ "job_id": job.id, "target_id": job.target_id, "database": result["database"],
                      "safety_save_id": result["undo"]["save_id"], "result": result }),
    };
    outbox::insert(tx, &event).await
}

/// What made way is kept, and what came in is kept no more. Of a restore that stands by it is what was restored.
async fn write_swap(tx: &mut PgConnection, job: &JobRow, payload: &Payload, swap: &Swap) -> Result<(), DbError> {
    if let Payload::Restore(restore) = payload
        && restore.stands_by
    {
        let new = kept::NewKept {
            id: swap.keep_id,
            target_id: restore.target_id,
            job_id: job.id,
            database: restore.database.clone(),
            name: swap.database.clone(),
            oid: swap.incoming.oid,
            keep_s: swap.keep_old_s,
        };
        return kept::insert(tx, &new).await.map(drop);
    }
    if let Some(kept_id) = swap.kept_id {
        kept::end(tx, kept_id, kept::End::Restored, job.id).await?;
    }
    if let (Some(outgoing), Some(target_id)) = (&swap.outgoing, job.target_id) {
        let new = kept::NewKept {
            id: swap.keep_id,
            target_id,
            job_id: job.id,
            database: swap.database.clone(),
            name: outgoing.name.clone(),
            oid: outgoing.oid,
            keep_s: swap.keep_old_s,
        };
        kept::insert(tx, &new).await?;
    }
    Ok(())
}

/// As [`write_swap`], of collections: what makes way is known by what its names begin with.
async fn write_renames(tx: &mut PgConnection, job: &JobRow, renames: &Renames, is_kept: bool) -> Result<(), DbError> {
    if let Some(kept_id) = renames.kept_id {
        kept::end(tx, kept_id, kept::End::Restored, job.id).await?;
    }
    if let (true, Some(target_id)) = (is_kept, job.target_id) {
        let new = kept::NewKept {
            id: renames.keep_id,
            target_id,
            job_id: job.id,
            database: renames.database.clone(),
            name: renames.aside_prefix.clone(),
            // MongoDB's databases have none; the job's id in the name is what proves it.
            oid: 0,
            keep_s: renames.keep_old_s,
        };
        kept::insert(tx, &new).await?;
    }
    Ok(())
}

/// The save that a restore or a wipe makes first: available while its job goes on. The caller has made sure of the fence.
pub async fn safety(tx: &mut PgConnection, config: &config::Jobs, fence: Fence, saved: &Saved) -> Result<(), DbError> {
    match jobs::get(tx, fence.job).await? {
        Some(job) => write_save(tx, config, fence, &job, saved).await,
        None => Err(DbError::Rows { table: "jobs", expected: 1, actual: 0 }),
    }
}

/// What the verification of a safety save found, while its job goes on. The caller has made sure of the fence.
pub async fn verification(
    tx: &mut PgConnection,
    config: &config::Jobs,
    fence: Fence,
    found: &crate::handler::verify::Verified,
) -> Result<(), DbError> {
    match jobs::get(tx, fence.job).await? {
        Some(job) => verified::write(tx, config, &job, found).await,
        None => Err(DbError::Rows { table: "jobs", expected: 1, actual: 0 }),
    }
}

async fn write_save(
    tx: &mut PgConnection,
    config: &config::Jobs,
    fence: Fence,
    job: &JobRow,
    saved: &Saved,
) -> Result<(), DbError> {
    let manifest = &saved.manifest;
    for (store, outcome) in &saved.copies {
        let settled = match outcome {
            Ok(good) => {
                for (id, facts) in &good.objects {
                    objects::set_stored(tx, *id, facts).await?;
                }
                Ok(saves::GoodFacts {
                    stored_bytes: good.objects.iter().map(|(_, facts)| facts.stored_bytes).sum(),
                    encodings: &good.encodings,
                    sealing: good.sealing.as_ref(),
                })
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
    outbox::insert(tx, &event).await?;
    drift::write(tx, job, manifest, saved.raw_bytes).await?;
    let lost = saved.copies.iter().filter(|(_, outcome)| outcome.is_err()).map(|(store, _)| store.as_str());
    missing::enqueue(tx, config, job, manifest.save, lost).await
}
