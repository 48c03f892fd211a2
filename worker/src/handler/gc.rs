//! Collect what dead attempts left in this worker's stores, by their rows, and report what no row knows. What is foreign
//! is never touched: it may be somebody's only copy.

mod foreign;

use std::sync::Arc;

use serde::Serialize;
use shared::{
    db::gc::{self, DeadObject},
    job::{GcJob, Problem},
    name::Slug,
};

use super::{Done, Job, JobError};
use crate::{
    record::removal::{Condemned, remove},
    store::{self, Fault, Store, StoreError},
};

/// Failures that one report names.
const NAMED_FAILURES: usize = 10;

/// What became of one store.
#[derive(Debug, Serialize)]
struct Report {
    store: Slug,
    /// Removed now; in a dry run: what would be.
    objects: u64,
    /// Of those that were visible; what an upload left invisible is not measured.
    bytes: u64,
    /// Old enough, and left to the next collection.
    remaining: i64,
    /// Dead, and not old enough.
    young: i64,
    failures: Vec<String>,
    foreign: foreign::Foreign,
}

/// Collects in one store or all. A store that cannot be reached does not keep the others from it; where none can be, the
/// job fails.
pub async fn run(job: &Job, payload: &GcJob) -> Result<Done, JobError> {
    job.phase("collecting").await?;
    let chosen: Vec<(&Slug, &Arc<dyn Store>)> =
        job.ctx.stores.iter().filter(|(name, _)| payload.store.as_ref().is_none_or(|only| only == *name)).collect();
    if let (true, Some(name)) = (chosen.is_empty(), &payload.store) {
        return Err(JobError::abort(
            "store_unknown",
            format!("this worker has no store named {name}"),
            "Name a worker group whose workers have the store.",
        ));
    }
    let (mut reports, mut failed) = (Vec::new(), Vec::new());
    for (name, store) in chosen {
        match collect(job, payload, name, store.as_ref()).await {
            Ok(report) => reports.push(report),
            Err(JobError::Stopped) => return Err(JobError::Stopped),
            Err(error) => {
                tracing::warn!(store = %name, error = %shared::telemetry::Causes(&error), "this store could not be collected");
                failed.push((name.clone(), error));
            }
        }
    }
    if reports.is_empty()
        && let Some((_, error)) = failed.pop()
    {
        return Err(error);
    }
    let objects: u64 = reports.iter().map(|report| report.objects).sum();
    let bytes: u64 = reports.iter().map(|report| report.bytes).sum();
    let failed: Vec<_> = failed
        .into_iter()
        .filter_map(|(store, error)| Some(serde_json::json!({ "store": store, "error": problem(error)? })))
        .collect();
    Ok(Done::Plain(serde_json::json!({
        "dry_run": payload.dry_run, "grace_s": job.ctx.gc.grace.as_secs_f64(), "objects": objects, "bytes": bytes,
        "stores": reports, "failed_stores": failed,
    })))
}

async fn collect(job: &Job, payload: &GcJob, name: &Slug, store: &dyn Store) -> Result<Report, JobError> {
    let settings = &job.ctx.gc;
    if payload.dry_run {
        // Without claiming a store that nobody has claimed: that would be a change.
        if let Some(marker) = store.marker().await?
            && marker.installation != job.ctx.installation
        {
            return Err(StoreError::foreign(name, marker.installation).into());
        }
    } else {
        store::require_ours(store, job.ctx.installation).await?;
    }
    let dead = {
        let mut conn = job.ctx.pool.acquire().await?;
        gc::due(&mut conn, name, settings.grace, settings.objects).await?
    };
    let (mut objects, mut bytes, mut failures) = (0, 0, Vec::new());
    for object in &dead {
        match one(job, payload, store, object).await {
            Ok(found) => {
                objects += 1;
                bytes += found;
            }
            Err(JobError::Stopped) => return Err(JobError::Stopped),
            Err(error) => {
                tracing::warn!(store = %name, key = object.key, error = %shared::telemetry::Causes(&error), "an object could not be collected");
                if failures.len() < NAMED_FAILURES {
                    failures.push(format!("{}: {error}", object.key));
                }
            }
        }
    }
    let foreign = foreign::look(job, name, store).await?;
    let (due, young) = {
        let mut conn = job.ctx.pool.acquire().await?;
        gc::count(&mut conn, name, settings.grace).await?
    };
    let remaining = if payload.dry_run { due.saturating_sub_unsigned(objects) } else { due };
    Ok(Report { store: name.clone(), objects, bytes, remaining, young, failures, foreign })
}

/// Removes one object, or only looks. Its length, where it was visible.
async fn one(job: &Job, payload: &GcJob, store: &dyn Store, object: &DeadObject) -> Result<u64, JobError> {
    let condemned = Condemned::try_from(object)?;
    let bytes = match store.stat(&condemned.key).await {
        Ok(found) => found.map_or(0, |stat| stat.bytes),
        // What is damaged can still be removed.
        Err(error) if !matches!(error.fault(), Fault::Corrupt { .. }) => return Err(error.into()),
        Err(_) => 0,
    };
    if !payload.dry_run {
        let removed = remove(job, store, &condemned).await?;
        tracing::info!(
            store = %store.name(), key = object.key, save.id = %object.save_id, object.epoch = object.epoch,
            size_bytes = bytes, found = ?removed, "object of a dead attempt removed"
        );
    }
    Ok(bytes)
}

fn problem(error: JobError) -> Option<Problem> {
    match error {
        JobError::Retry(problem) | JobError::Abort(problem) => Some(problem),
        JobError::Stopped => None,
    }
}
