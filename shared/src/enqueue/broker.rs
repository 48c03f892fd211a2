//! Asking for what is done with the broker of a service.

use sqlx::PgConnection;

use super::{Asked, DEFAULT_PRIORITY, EnqueueError, submit};
use crate::{
    db::{
        brokers::{self, BrokerRow},
        jobs,
    },
    id::{GroupId, JobId, ServiceId},
    job::{DefinitionsJob, Payload, PurgeJob},
    wipe::KeepPattern,
};

/// What was purged is gone, and what comes meanwhile is not to be: nothing is tried again by itself.
const PURGE_ATTEMPTS: i32 = 1;
/// The next backup looks again.
const DEFINITIONS_ATTEMPTS: i32 = 3;

/// Enqueues the purge of the queues that the service names, as one of a group. After a job: the group's wipes, of which it is
/// the last, have to succeed first. None: it has no broker, or names no queue.
pub async fn purge(
    tx: &mut PgConnection,
    service: ServiceId,
    group: Option<GroupId>,
    after: Option<JobId>,
    dry_run: bool,
    asked: &Asked,
) -> Result<Option<JobId>, EnqueueError> {
    let Some(broker) = brokers::get(tx, service).await? else { return Ok(None) };
    // What the row holds was checked when it was written.
    let queues: Vec<KeepPattern> =
        broker.queues.iter().filter_map(|text| KeepPattern::parse(text.as_str()).ok()).collect();
    if queues.is_empty() {
        return Ok(None);
    }
    let after = after.filter(|_| !dry_run);
    let payload =
        PurgeJob { v: 1, service_id: service, queues, after_group: group.filter(|_| after.is_some()), dry_run };
    let mut job = new_job(&broker, Payload::Purge(payload), asked);
    job.group_id = group;
    job.after_job_id = after;
    job.exclusive_key = (!dry_run).then(|| format!("broker:{service}"));
    job.max_attempts = asked.attempts.min(PURGE_ATTEMPTS);
    submit(tx, &job).await?;
    Ok(Some(job.id))
}

/// Enqueues a look at what the service's broker is made of. None: it has no broker.
pub async fn definitions(
    tx: &mut PgConnection,
    service: ServiceId,
    group: Option<GroupId>,
    asked: &Asked,
) -> Result<Option<JobId>, EnqueueError> {
    let Some(broker) = brokers::get(tx, service).await? else { return Ok(None) };
    let mut job = new_job(&broker, Payload::Definitions(DefinitionsJob { v: 1, service_id: service }), asked);
    job.group_id = group;
    job.max_attempts = asked.attempts.min(DEFINITIONS_ATTEMPTS);
    submit(tx, &job).await?;
    Ok(Some(job.id))
}

fn new_job(broker: &BrokerRow, payload: Payload, asked: &Asked) -> jobs::NewJob {
    let id = JobId::generate();
    asked.enqueued.note(id);
    jobs::NewJob {
        id,
        payload,
        priority: asked.priority.unwrap_or(DEFAULT_PRIORITY),
        worker_group: broker.worker_group.to_string(),
        service_id: Some(broker.service_id),
        target_id: None,
        server_id: None,
        save_id: None,
        reads_save_id: None,
        exclusive_key: None,
        group_id: None,
        after_job_id: None,
        retry_of: None,
        max_attempts: asked.attempts,
        deadline_s: None,
        stall_s: None,
        requested_by: asked.by,
        request_id: asked.request_id.clone(),
        trace_id: asked.trace_id.clone(),
    }
}
