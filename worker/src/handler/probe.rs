//! Look at a target: version, size, TLS, and what the role could not read.

use serde_json::json;
use shared::{db::work::Purpose, job::ProbeJob};

use super::{Done, Job, JobError};
use crate::engine::{Engine as _, EngineKind};

/// Asks the server and answers what it said.
pub async fn run(job: &Job, payload: &ProbeJob) -> Result<Done, JobError> {
    job.phase("probing").await?;
    let work = job.target(payload.target_id, Purpose::Backup).await?;
    let (at, database) = job.ctx.connection_to_any(&work, job.lease.fence)?;
    if at.engine == EngineKind::Mongodb {
        let report = job.ctx.mongodb.probe(&at, &database, &job.lease.cancel).await?;
        let client = match job.ctx.mongodb.client_of(&at) {
            Ok((name, version)) => json!({ "name": name, "version": version, "warning": null }),
            Err(error) => json!({ "error": error.to_string(), "hint": error.hint() }),
        };
        return Ok(Done::Plain(json!({ "probe": report, "client": client })));
    }
    let engine = &job.ctx.postgres;
    let report = engine.probe(&at, &database, &job.lease.cancel).await?;
    let client = engine.clients.for_server(report.server_major());
    let client = match client {
        Ok((client, warning)) => json!({ "version": client.version(), "warning": warning }),
        Err(error) => json!({ "error": error.to_string(), "hint": error.hint() }),
    };
    Ok(Done::Plain(json!({ "probe": report, "client": client })))
}
