//! Asking for a collection of what dead attempts left. It belongs to no target: it runs in a worker group, whose workers
//! all have the same stores.

use sqlx::PgConnection;

use super::{Asked, EnqueueError, submit};
use crate::{
    db::jobs,
    id::JobId,
    job::{GcJob, Payload},
    name::Slug,
};

/// A collection that is wanted.
#[derive(Debug, Clone)]
pub struct GcRequest {
    /// This store alone; else all stores of the worker that runs the job.
    pub store: Option<Slug>,
    pub worker_group: String,
    pub dry_run: bool,
}

/// Whatever else there is to do goes first, unless somebody asks otherwise.
const PRIORITY: i16 = 1;
/// What one collection leaves, the next one finds.
const ATTEMPTS: i32 = 3;

/// Enqueues a collection.
pub async fn gc(tx: &mut PgConnection, wanted: GcRequest, asked: &Asked) -> Result<JobId, EnqueueError> {
    let id = JobId::generate();
    asked.enqueued.note(id);
    let job = jobs::NewJob {
        id,
        payload: Payload::Gc(GcJob { v: 1, store: wanted.store, dry_run: wanted.dry_run }),
        priority: asked.priority.unwrap_or(PRIORITY),
        worker_group: wanted.worker_group,
        service_id: None,
        target_id: None,
        server_id: None,
        save_id: None,
        reads_save_id: None,
        exclusive_key: None,
        group_id: None,
        after_job_id: None,
        retry_of: None,
        max_attempts: asked.attempts.min(ATTEMPTS),
        deadline_s: None,
        stall_s: None,
        requested_by: asked.by,
        request_id: asked.request_id.clone(),
        trace_id: asked.trace_id.clone(),
    };
    submit(tx, &job).await?;
    Ok(id)
}
