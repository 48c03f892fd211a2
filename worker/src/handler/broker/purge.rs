//! Empty the queues that a service names, once all of its databases are empty. What is in a queue can be saved nowhere: it is gone.

use serde_json::{Value, json};
use shared::{
    db::brokers,
    job::{Problem, PurgeJob},
};

use super::{super::Done, Job, JobError, failed, open, warnings};
use crate::broker::Queue;

/// Seconds after which it is looked again whether the wipes have ended.
const LOOK_AGAIN_S: u64 = 5;
/// Queues that a result lists.
const LISTED: usize = 1000;

/// Purges, or looks.
pub async fn run(job: &Job, payload: &PurgeJob) -> Result<Done, JobError> {
    job.phase("looking").await?;
    wiped(job, payload).await?;
    let (broker, work) = open(job, payload.service_id).await?;
    let asked = async { broker.queues().await.map_err(|error| failed(&error)) };
    let all = job.lease.cancel.run_until_cancelled(asked).await.unwrap_or(Err(JobError::Stopped))?;
    let matching = |queue: &&Queue| payload.queues.iter().any(|pattern| pattern.matches(&queue.name));
    let (mut purged, mut skipped) = (Vec::new(), Vec::new());
    if !payload.dry_run {
        job.phase("purging").await?;
    }
    for queue in all.iter().filter(matching) {
        if let Some(why) = queue.obstacle() {
            skipped.push(json!({ "queue": queue.name, "why": why }));
            continue;
        }
        if !payload.dry_run {
            if job.lease.stopped().is_some() {
                return Err(JobError::Stopped);
            }
            job.still_owns().await?;
            if let Err(error) = broker.purge(&queue.name).await {
                return Err(halted(&queue.name, &purged, failed(&error)));
            }
        }
        purged.push(json!({ "queue": queue.name, "messages": queue.messages }));
    }
    let count = purged.len();
    purged.truncate(LISTED);
    skipped.truncate(LISTED);
    Ok(Done::Plain(json!({
        "dry_run": payload.dry_run, "vhost": work.vhost, "queues": purged, "queue_count": count, "skipped": skipped,
        "left": all.len() - all.iter().filter(matching).count(),
        "estimates": "messages are the broker's statistics of some seconds ago", "warnings": warnings(&work),
    })))
}

/// Whether the databases are empty: as long as one is being emptied, it is too early; where one could not be, it is not done.
async fn wiped(job: &Job, payload: &PurgeJob) -> Result<(), JobError> {
    let Some(group) = payload.after_group else { return Ok(()) };
    let mut conn = job.ctx.pool.acquire().await?;
    let (open, bad) = brokers::wipes(&mut conn, group).await?;
    if bad > 0 {
        return Err(JobError::abort(
            "predecessor_failed",
            format!("{bad} of the service's databases were not wiped; no queue was purged"),
            "Wipe the service again.",
        ));
    }
    if open > 0 {
        let message = format!("{open} of the service's databases are not wiped yet");
        let problem = Problem::retryable("too_early", message, "Nothing: it looks again.");
        return Err(JobError::Retry(Problem { retry_after_s: Some(LOOK_AGAIN_S), ..problem }));
    }
    Ok(())
}

/// It is not tried again by itself: what comes into the queues meanwhile is somebody's.
fn halted(queue: &str, purged: &[Value], error: JobError) -> JobError {
    match error {
        JobError::Retry(problem) | JobError::Abort(problem) => {
            let done = match purged.len() {
                0 => "none was before".to_owned(),
                some => format!("{some} were before"),
            };
            JobError::abort(
                &problem.code,
                format!("queue {queue:?} could not be purged ({done}): {}", problem.message),
                format!("{} Then retry this job.", problem.hint),
            )
        }
        JobError::Stopped => JobError::Stopped,
    }
}
