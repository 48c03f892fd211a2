//! One file per job kind: engine → stream → store → record. A handler works and describes its result; the runner
//! writes it, fenced, in one transaction.

pub mod backup;
pub mod broker;
pub mod copy;
pub mod delete;
pub mod discover;
mod error;
mod exchange;
pub mod expire;
pub mod gc;
mod heads;
pub mod import;
mod mongo;
pub mod preflight;
pub mod probe;
mod renames;
mod resolve;
pub mod restore;
pub mod retention;
mod scratch;
pub mod undo;
pub mod verify;
pub mod wipe;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use shared::{
    db::{claim, kept, schedules::ScheduleRow, work},
    failpoint,
    id::{KeptId, TargetId},
    job::{Journal, Payload, Renames, Swap},
    manifest::Manifest,
    name::DatabaseName,
};

pub use error::{JobError, chain};

use crate::{context::Context, lease::Lease, stream::Progress, transfer::upload::Upload};

/// What a handler runs with: the worker's context, its own lease, and where it shows how far it is.
#[derive(Debug, Clone)]
pub struct Job {
    pub ctx: Arc<Context>,
    pub lease: Arc<Lease>,
    /// The stream of the moment, sampled by the runner for progress and the stall time-out.
    stream: Arc<Mutex<Option<Streaming>>>,
    /// Whether the journal is written, or was by an earlier attempt.
    committing: Arc<AtomicBool>,
    /// What came with the request that the job is for.
    upload: Arc<Mutex<Option<Upload>>>,
}

/// A stream that runs, and what its end is expected to be.
#[derive(Debug, Clone)]
pub struct Streaming {
    pub progress: Arc<Progress>,
    pub estimated_bytes: Option<u64>,
}

/// What a handler achieved; the rows that say so are written by the runner's finish.
#[derive(Debug)]
pub enum Done {
    Backup(Box<backup::Saved>),
    /// Two databases have changed places.
    Swapped {
        swap: Swap,
        result: serde_json::Value,
    },
    /// Collections of a database have changed names.
    Renamed {
        renames: Renames,
        /// Whether something was put aside.
        is_kept: bool,
        result: serde_json::Value,
    },
    /// A database that was put aside is there no more.
    Expired {
        kept_id: KeptId,
        end: kept::End,
        result: serde_json::Value,
    },
    /// A database is empty but for what was kept.
    Wiped {
        /// Whether there was anything to empty, and so to save.
        found_something: bool,
        result: serde_json::Value,
    },
    Verified(Box<verify::Verified>),
    Copied(Box<copy::Copied>),
    /// These databases are on the schedule's server.
    Discovered {
        schedule: Box<ScheduleRow>,
        databases: Vec<DatabaseName>,
    },
    /// What a broker is made of.
    Defined(Box<broker::definitions::Found>),
    Plain(serde_json::Value),
}

impl Done {
    /// What the job's row shows as its result.
    pub fn result(&self) -> serde_json::Value {
        match self {
            Self::Backup(saved) => {
                let Manifest { save, version, objects, .. } = &saved.manifest;
                json!({ "save_id": save, "version": version, "raw_bytes": saved.raw_bytes, "stored_bytes": saved.stored_bytes,
                        "objects": objects.len(), "stages": saved.stages, "bottleneck": saved.bottleneck,
                        "warnings": saved.manifest.warnings })
            }
            Self::Defined(found) => found.result.clone(),
            Self::Verified(verified) => verified.result(),
            Self::Copied(copied) => copied.result(),
            // What they became the record finds out, and says.
            Self::Discovered { databases, .. } => json!({ "databases": databases.len() }),
            Self::Swapped { result, .. }
            | Self::Renamed { result, .. }
            | Self::Expired { result, .. }
            | Self::Wiped { result, .. }
            | Self::Plain(result) => result.clone(),
        }
    }
}

impl Job {
    pub fn new(ctx: Arc<Context>, lease: Arc<Lease>, upload: Option<Upload>) -> Self {
        Self { ctx, lease, stream: Arc::default(), committing: Arc::default(), upload: Arc::new(Mutex::new(upload)) }
    }

    /// What came with the request; once.
    fn take_upload(&self) -> Option<Upload> {
        self.upload.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Names what is done now; ends the job when the lease is lost.
    pub async fn phase(&self, phase: &str) -> Result<(), JobError> {
        let mut conn = self.ctx.pool.acquire().await?;
        if claim::set_phase(&mut conn, self.lease.fence, phase).await? {
            return Ok(());
        }
        self.lease.stop(crate::lease::Stop::Lost);
        Err(JobError::Stopped)
    }

    /// The point of no return: writes the journal. Refused when the lease is lost or a cancel was asked for.
    pub async fn commit_point(&self, journal: &Journal) -> Result<(), JobError> {
        // Before it is sent: from then on it may be written.
        self.resuming();
        let mut conn = self.ctx.pool.acquire().await?;
        failpoint!("journal.commit.before");
        if claim::commit_point(&mut conn, self.lease.fence, journal).await? {
            failpoint!("journal.commit.after");
            return Ok(());
        }
        Err(JobError::Stopped)
    }

    /// What was begun is to be looked at, not done again, should this attempt end now.
    fn resuming(&self) {
        self.committing.store(true, Ordering::Release);
    }

    /// Whether the journal may be written.
    pub fn is_committing(&self) -> bool {
        self.committing.load(Ordering::Acquire)
    }

    /// Ends the job when somebody else owns it.
    pub async fn still_owns(&self) -> Result<(), JobError> {
        let mut conn = self.ctx.pool.acquire().await?;
        if claim::owns(&mut conn, self.lease.fence).await? {
            return Ok(());
        }
        self.lease.stop(crate::lease::Stop::Lost);
        Err(JobError::Stopped)
    }

    /// Shows a stream to the runner until the returned guard is dropped.
    pub fn watch(&self, estimated_bytes: Option<u64>) -> (Arc<Progress>, Watched<'_>) {
        let progress = Arc::new(Progress::default());
        *self.slot() = Some(Streaming { progress: Arc::clone(&progress), estimated_bytes });
        (progress, Watched(self))
    }

    /// The stream of the moment.
    pub fn streaming(&self) -> Option<Streaming> {
        self.slot().clone()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Streaming>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn target(&self, id: TargetId, purpose: work::Purpose) -> Result<work::TargetWork, JobError> {
        let mut conn = self.ctx.pool.acquire().await?;
        work::target(&mut conn, id, purpose).await?.ok_or_else(|| {
            JobError::abort("target_missing", format!("target {id} does not exist any more"), "Register it again.")
        })
    }
}

/// Takes the stream out of sight when dropped.
#[derive(Debug)]
pub struct Watched<'a>(&'a Job);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        *self.0.slot() = None;
    }
}

/// Runs the handler of a payload; of a job with a journal only the resolver.
pub async fn run(job: &Job, payload: &Payload, journal: Option<&Journal>) -> Result<Done, JobError> {
    if let Some(journal) = journal {
        return resolve::run(job, payload, journal).await;
    }
    match payload {
        Payload::Backup(payload) => backup::run(job, payload).await,
        Payload::Restore(payload) => restore::run(job, payload).await,
        Payload::Undo(payload) => undo::run(job, payload).await,
        Payload::Expire(payload) => expire::run(job, payload).await,
        Payload::Probe(payload) => probe::run(job, payload).await,
        Payload::Preflight(payload) => preflight::run(job, payload).await,
        Payload::Delete(payload) => delete::run(job, payload).await,
        Payload::Gc(payload) => gc::run(job, payload).await,
        Payload::Verify(payload) => verify::run(job, payload).await,
        Payload::Copy(payload) => copy::run(job, payload).await,
        Payload::Import(payload) => import::run(job, payload).await,
        Payload::Discover(payload) => discover::run(job, payload).await,
        Payload::Retention(payload) => retention::run(job, payload).await,
        Payload::Wipe(payload) => wipe::run(job, payload).await,
        Payload::Purge(payload) => broker::purge::run(job, payload).await,
        Payload::Definitions(payload) => broker::definitions::run(job, payload).await,
    }
}
