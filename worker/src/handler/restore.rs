//! Put a save into a new database (design §8). The database exists only if every byte was proven good: the last block is
//! held back until length and digests have matched; it gets its name as the last step, and a failed restore drops what
//! it created.

use std::sync::Arc;

use serde_json::json;
use shared::{
    db::{jobs, saves, work::Purpose},
    failpoint,
    id::JobId,
    job::{OwnerPolicy, PrivilegePolicy, RestoreJob},
    manifest::{self, Manifest, ManifestObject},
    name::Slug,
    save::{CopyState, Mode, SaveState},
};

use super::{Done, Job, JobError};
use crate::{
    engine::{Connection, Creation, DatabaseProperties, Engine, Keep, RestoreOptions},
    store::Store,
    stream::{self, Expected, Restored, StreamError},
};

/// Restores from the first copy that proves good.
pub async fn run(job: &Job, payload: &RestoreJob) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let work = job.target(payload.target_id, Purpose::Restore).await?;
    let (at, _) = job.ctx.connection(&work, job.lease.fence)?;
    let (manifest, stores) = load(job, payload).await?;
    let object = dump_object(&manifest)?;
    let properties: DatabaseProperties = serde_json::from_value(manifest.database_properties.clone()).map_err(|e| {
        JobError::abort(
            "manifest_unreadable",
            format!("the manifest's database properties cannot be read: {e}"),
            "Use a newer version.",
        )
    })?;
    let options = RestoreOptions {
        owner: if payload.owner == OwnerPolicy::Keep { Keep::Keep } else { Keep::None },
        privileges: if payload.privileges == PrivilegePolicy::Keep { Keep::Keep } else { Keep::None },
    };
    let engine = &job.ctx.postgres;
    engine.end_older_sessions(&at, &at.maintenance_database, &job.lease.cancel).await?;
    tidy(job, &at).await;
    let mut damaged = Vec::new();
    let last = stores.len().saturating_sub(1);
    for (n, (name, store)) in stores.iter().enumerate() {
        match once(job, payload, &at, &manifest, object, &properties, &options, store).await {
            Ok(End::Adopted) => {
                let warning = "an earlier attempt of this job had restored and named the database, and ended before it \
                               could record it; its warnings are in the log of its worker";
                return Ok(Done::Plain(json!({
                    "database": payload.database, "save_id": manifest.save, "adopted": true, "warnings": [warning],
                })));
            }
            Ok(End::Restored(restored, warnings)) => {
                return Ok(Done::Plain(json!({
                    "database": payload.database, "save_id": manifest.save, "store": name, "raw_bytes": restored.raw_bytes,
                    "stored_bytes": restored.stored_bytes, "stages": restored.stages, "bottleneck": restored.bottleneck,
                    "warnings": warnings, "damaged_copies": damaged,
                })));
            }
            Err(Attempt::Copy(error)) if n < last => {
                tracing::warn!(store = %name, error = %shared::telemetry::Causes(&error), "this copy cannot be restored; the next one is tried");
                damaged.push(json!({ "store": name, "error": error.to_string() }));
            }
            Err(Attempt::Copy(error) | Attempt::Job(error)) => return Err(error),
        }
    }
    Err(JobError::abort(
        "no_copy",
        format!("save {} has no good copy in a store of this worker", payload.save_id),
        "Start a worker that has the store.",
    ))
}

/// Takes away what restores of ended jobs left on this server: no attempt of theirs will come to do it. Whatever goes
/// wrong here is no matter of this job.
async fn tidy(job: &Job, at: &Connection) {
    let engine = &job.ctx.postgres;
    let tidied = async {
        for left in engine.left_behind(at, &job.lease.cancel).await? {
            let mut conn = job.ctx.pool.acquire().await?;
            let row = jobs::get(&mut conn, JobId(left.job())).await?;
            drop(conn);
            if row.is_some_and(|row| row.state.is_terminal()) {
                tracing::info!(database = %left.database(), left.job = %left.job(), "dropping what a restore of an ended job left");
                engine.discard(at, left).await?;
            }
        }
        Ok::<_, JobError>(())
    };
    if let Err(error) = tidied.await {
        tracing::warn!(error = &error as &dyn std::error::Error, "what ended restores left could not be taken away");
    }
}

/// How an attempt ended well.
enum End {
    Restored(Restored, Vec<String>),
    /// An older attempt of this job had done it all.
    Adopted,
}

/// Whether another copy may help.
enum Attempt {
    Copy(JobError),
    Job(JobError),
}

impl<E: Into<JobError>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Job(error.into())
    }
}

#[expect(clippy::too_many_arguments, reason = "one attempt needs the whole of what was prepared")]
async fn once(
    job: &Job,
    payload: &RestoreJob,
    at: &Connection,
    manifest: &Manifest,
    object: &ManifestObject,
    properties: &DatabaseProperties,
    options: &RestoreOptions,
    store: &Arc<dyn Store>,
) -> Result<End, Attempt> {
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    let stored = store.read(&object.key, cancel).await.map_err(|e| Attempt::Copy(e.into()))?;
    let expected = expected(object)?;
    let created = match engine.create(at, &payload.database, properties, options, cancel).await? {
        Creation::New(created) => created,
        Creation::Finished => return Ok(End::Adopted),
    };
    let restored = async {
        job.phase("restoring").await?;
        let mut restore = engine.restore(at, &created, manifest.tool_major, options, cancel).await?;
        let Some(writer) = restore.writer() else {
            return Err(JobError::abort("internal", "the restore tool has no input", "Report this.").into());
        };
        failpoint!("restore.tool.started");
        let (progress, watched) = job.watch(Some(object.raw_bytes));
        let streamed = stream::restore(stored, expected, writer, progress, cancel).await;
        drop(watched);
        match streamed {
            Ok(restored) => {
                restore.finish().await?;
                failpoint!("restore.tool.ended");
                job.phase("settling").await?;
                let warnings = engine.settle(at, &created, properties, options, cancel).await?;
                failpoint!("restore.settle.after");
                engine.publish(at, &created, properties).await?;
                Ok(End::Restored(restored, warnings))
            }
            // The tool stopped reading: it says why.
            Err(error @ StreamError::Sink { .. }) => {
                Err(restore.finish().await.err().map_or_else(|| error.into(), Attempt::from))
            }
            Err(error) => {
                restore.stop().await?;
                let other_copy_may_help = matches!(error, StreamError::Corrupt { .. } | StreamError::Store(_));
                Err(if other_copy_may_help { Attempt::Copy(error.into()) } else { error.into() })
            }
        }
    }
    .await;
    if restored.is_err()
        && let Err(error) = engine.discard(at, created).await
    {
        tracing::error!(database = %payload.database, error = %shared::telemetry::Causes(&error), "the database of a failed restore could not be dropped");
    }
    restored
}

async fn load(job: &Job, payload: &RestoreJob) -> Result<(Manifest, Vec<(Slug, Arc<dyn Store>)>), JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let save = saves::get(&mut conn, payload.save_id).await?;
    let available = save.filter(|save| save.state == SaveState::Available).and_then(|save| save.manifest);
    let Some(manifest) = available else {
        return Err(JobError::abort(
            "save_not_available",
            format!("save {} is not available any more", payload.save_id),
            "Choose another save.",
        ));
    };
    if manifest.format > manifest::FORMAT {
        return Err(JobError::abort(
            "format_unsupported",
            format!("the save has format {}, this worker reads up to {}", manifest.format, manifest::FORMAT),
            "Use a newer worker.",
        ));
    }
    if manifest.mode == Mode::Data {
        return Err(JobError::abort(
            "save_without_schema",
            "the save holds data without a schema, which a new database cannot take",
            "Restore a save of mode all.",
        ));
    }
    let mut stores = Vec::new();
    for copy in saves::copies(&mut conn, payload.save_id).await? {
        if copy.state == CopyState::Good
            && let Ok(name) = Slug::parse(copy.store)
            && let Some(store) = job.ctx.stores.get(&name)
        {
            stores.push((name, Arc::clone(store)));
        }
    }
    Ok((manifest.0, stores))
}

fn dump_object(manifest: &Manifest) -> Result<&ManifestObject, JobError> {
    let mut parts = manifest.objects.iter().filter(|object| object.part.starts_with("dump."));
    match (parts.next(), parts.next()) {
        (Some(object), None) => Ok(object),
        (None, _) => Err(JobError::abort("manifest_unreadable", "the manifest names no dump", "Choose another save.")),
        (Some(_), Some(_)) => {
            Err(JobError::abort("format_unsupported", "the save has several dump parts", "Use a newer worker."))
        }
    }
}

fn expected(object: &ManifestObject) -> Result<Expected, JobError> {
    let unreadable = |_| {
        JobError::abort(
            "manifest_unreadable",
            format!("the digests of {} cannot be read", object.part),
            "Choose another save.",
        )
    };
    Ok(Expected {
        stored_bytes: object.stored_bytes,
        sha256: object.sha256.parse().map_err(unreadable)?,
        raw_bytes: object.raw_bytes,
        blake3: object.blake3.parse().map_err(unreadable)?,
    })
}
