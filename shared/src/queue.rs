//! The transactional hint: one of the two files that know apalis (the other is the worker's `dispatch.rs`).
//!
//! A hint says only "look": the job's row is the truth. Hints may be lost, doubled or late; the claim makes each job
//! run once, and the sweeper sends hints again.

use apalis::prelude::TaskBuilder;
use apalis_postgres::{PostgresStorage, queries::push_tasks};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};

use crate::{db::DbError, id::JobId};

/// The queue's name. A hint of another shape gets another name: an undecodable row kills every apalis worker that
/// fetches it.
pub const QUEUE: &str = "holdfast.hint.v1";

/// What a hint carries.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Hint {
    pub job_id: JobId,
}

/// Why a hint was not written.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the hint could not be written as JSON")]
    Encode(#[from] serde_json::Error),
    #[error("the hint was not queued: {0}")]
    Push(String),
    #[error(transparent)]
    Db(#[from] DbError),
}

/// Creates or updates apalis' own schema. Run by the owner role: it creates extensions.
pub async fn setup(owner: &PgPool) -> Result<(), QueueError> {
    PostgresStorage::setup(owner).await.map_err(|error| QueueError::Push(error.to_string()))
}

/// Tells a worker of these jobs, at the commit of the caller's transaction. Their rows say already that it was done.
pub async fn hint(conn: &mut PgConnection, jobs: &[JobId]) -> Result<(), QueueError> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut tasks = Vec::with_capacity(jobs.len());
    for job_id in jobs {
        // Run at the epoch: the insert trigger compares with the start of the transaction, and a task of "now" in a long
        // transaction, or by a fast clock, would notify nobody.
        let task = TaskBuilder::new(serde_json::to_vec(&Hint { job_id: *job_id })?)
            .run_at_timestamp(0)
            .max_attempts(1)
            .build();
        tasks.push(task);
    }
    push_tasks(conn, QUEUE, tasks).await.map_err(|error| QueueError::Push(error.to_string()))
}
