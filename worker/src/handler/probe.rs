//! Look at a target: version, size, TLS, what the role could not read, and whether its stores are fit for copies.

mod stores;

use serde_json::{Value, json};
use shared::{db::work::Purpose, job::ProbeJob};

use super::{Done, Job, JobError};
use crate::engine::{Engine as _, EngineKind};

/// Asks the server and the stores, and answers what they said.
pub async fn run(job: &Job, payload: &ProbeJob) -> Result<Done, JobError> {
    job.phase("probing").await?;
    let (probe, client) = server(job, payload).await?;
    job.phase("inspecting_stores").await?;
    let stores = stores::look(job, payload.target_id).await?;
    let warning = |look: &stores::Look| {
        let problem = look.problem.as_ref()?;
        Some(format!("store {} is not fit, and enough others are: {}", look.store, problem.message))
    };
    let warnings: Vec<String> = stores.iter().filter_map(warning).collect();
    Ok(Done::Plain(json!({ "probe": probe, "client": client, "stores": stores, "warnings": warnings })))
}

/// What the server says, and with which client it would be dumped.
async fn server(job: &Job, payload: &ProbeJob) -> Result<(Value, Value), JobError> {
    let work = job.target(payload.target_id, Purpose::Backup).await?;
    let (at, database) = job.ctx.connection_to_any(&work, job.lease.fence)?;
    if at.engine == EngineKind::Mongodb {
        let report = job.ctx.mongodb.probe(&at, &database, &job.lease.cancel).await?;
        let client = match job.ctx.mongodb.client_of(&at) {
            Ok((name, version)) => json!({ "name": name, "version": version, "warning": null }),
            Err(error) => json!({ "error": error.to_string(), "hint": error.hint() }),
        };
        return Ok((json!(report), client));
    }
    let engine = &job.ctx.postgres;
    let report = engine.probe(&at, &database, &job.lease.cancel).await?;
    let client = engine.clients.for_server(report.server_major());
    let client = match client {
        Ok((client, warning)) => json!({ "version": client.version(), "warning": warning }),
        Err(error) => json!({ "error": error.to_string(), "hint": error.hint() }),
    };
    Ok((json!(report), client))
}
