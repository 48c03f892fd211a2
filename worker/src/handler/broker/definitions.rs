//! Keep what a service's broker is made of: exchanges, queues, bindings and policies of its virtual host.

use ring::digest::{SHA256, digest};
use serde_json::json;
use shared::{
    broker::{MAX_DEFINITIONS, ManagementUrl},
    id::ServiceId,
    job::DefinitionsJob,
};

use super::{super::Done, Job, JobError, failed, open, warnings};
use crate::broker::canonical;

/// What was found, and only lacks its row.
#[derive(Debug)]
pub struct Found {
    pub service_id: ServiceId,
    pub url: ManagementUrl,
    pub vhost: String,
    pub sha256: Vec<u8>,
    pub text: String,
    pub result: serde_json::Value,
}

/// Asks.
pub async fn run(job: &Job, payload: &DefinitionsJob) -> Result<Done, JobError> {
    job.phase("looking").await?;
    let (broker, work) = open(job, payload.service_id).await?;
    let asked = async { broker.definitions().await.map_err(|error| failed(&error)) };
    let found = job.lease.cancel.run_until_cancelled(asked).await.unwrap_or(Err(JobError::Stopped))?;
    let kept = canonical(&found);
    let text = kept.to_string();
    if text.len() > MAX_DEFINITIONS {
        return Err(JobError::abort(
            "broker_unreadable",
            format!(
                "the definitions of the virtual host have {} bytes, of which {MAX_DEFINITIONS} can be kept",
                text.len()
            ),
            "Export them by rabbitmqadmin, and keep them elsewhere.",
        ));
    }
    let sha256 = digest(&SHA256, text.as_bytes()).as_ref().to_vec();
    let count = |part: &str| kept[part].as_array().map_or(0, Vec::len);
    let result = json!({
        "vhost": work.vhost, "sha256": hex::encode(&sha256), "bytes": text.len(), "exchanges": count("exchanges"),
        "queues": count("queues"), "bindings": count("bindings"), "policies": count("policies"), "warnings": warnings(&work),
    });
    let (url, vhost) = (work.url, work.vhost);
    Ok(Done::Defined(Box::new(Found { service_id: payload.service_id, url, vhost, sha256, text, result })))
}
