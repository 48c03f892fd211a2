//! Look at a target: version, size, TLS, and what the role could not read.

use serde_json::json;
use shared::{db::work::Purpose, job::ProbeJob};

use super::{Done, Job, JobError};
use crate::engine::Engine;

/// Asks the server and answers what it said.
pub async fn run(job: &Job, payload: &ProbeJob) -> Result<Done, JobError> {
    job.phase("probing").await?;
    let work = job.target(payload.target_id, Purpose::Backup).await?;
    let (at, database) = job.ctx.connection(&work, job.lease.fence)?;
    let engine = &job.ctx.postgres;
    let report = engine.probe(&at, &database, &job.lease.cancel).await?;
    let client = engine.clients.for_server(report.server_major());
    let client = match client {
        Ok((client, warning)) => json!({ "version": client.version(), "warning": warning }),
        Err(error) => json!({ "error": error.to_string(), "hint": error.hint() }),
    };
    Ok(Done::Plain(json!({ "probe": report, "client": client })))
}
