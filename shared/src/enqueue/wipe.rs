//! Asking for a wipe, or for what one would do.

use sqlx::PgConnection;

use super::{Asked, EnqueueError, new_job, restore::safety_save, submit};
use crate::{
    db::jobs,
    id::{GroupId, JobId, SaveId, ServerId, TargetId},
    job::{Payload, WipeJob},
    name::DatabaseName,
    wipe::KeepPattern,
};

/// A wipe that is wanted.
#[derive(Debug, Clone)]
pub struct WipeRequest {
    pub target_id: TargetId,
    /// Where the target is, as whoever asks has seen and confirmed it.
    pub server_id: ServerId,
    pub database: DatabaseName,
    /// The target's own patterns, and those of the request.
    pub keep: Vec<KeepPattern>,
    pub dry_run: bool,
    /// Whether what is there is saved first.
    pub safety: bool,
    pub lock_timeout_s: u32,
    /// The group that it is one of.
    pub group: Option<GroupId>,
}

/// Before anything is destroyed; afterwards nothing is tried again.
const ATTEMPTS: i32 = 3;
/// Somebody waits for the answer, and a second question costs less than a second attempt.
const DRY_ATTEMPTS: i32 = 1;

/// Enqueues a wipe, with the pending save that it makes first. A dry run excludes nothing and is excluded by nothing.
pub async fn wipe(
    tx: &mut PgConnection,
    wanted: WipeRequest,
    asked: &Asked,
) -> Result<(JobId, Option<SaveId>), EnqueueError> {
    let target_id = wanted.target_id;
    let place = jobs::place(tx, target_id).await?.ok_or(EnqueueError::TargetMissing(target_id))?;
    let job = JobId::generate();
    let safety = if wanted.safety && !wanted.dry_run {
        Some(safety_save(tx, job, target_id, &place, asked).await?)
    } else {
        None
    };
    let payload = WipeJob {
        v: 1,
        target_id,
        server_id: wanted.server_id,
        database: wanted.database,
        keep: wanted.keep,
        dry_run: wanted.dry_run,
        safety_save_id: safety,
        lock_timeout_s: wanted.lock_timeout_s,
    };
    let mut row = new_job(job, Payload::Wipe(payload), target_id, &place, asked);
    row.save_id = safety;
    row.group_id = wanted.group;
    row.exclusive_key = (!wanted.dry_run).then(|| format!("target:{target_id}"));
    row.max_attempts = asked.attempts.min(if wanted.dry_run { DRY_ATTEMPTS } else { ATTEMPTS });
    submit(tx, &row).await?;
    Ok((job, safety))
}

/// Again what a wipe did not do.
pub(super) async fn wipe_again(tx: &mut PgConnection, job: WipeJob, asked: &Asked) -> Result<JobId, EnqueueError> {
    let wanted = WipeRequest {
        target_id: job.target_id,
        // What was confirmed then: should the target have moved since, the worker refuses.
        server_id: job.server_id,
        database: job.database,
        keep: job.keep,
        dry_run: job.dry_run,
        safety: job.safety_save_id.is_some(),
        lock_timeout_s: job.lock_timeout_s,
        group: None,
    };
    Ok(wipe(tx, wanted, asked).await?.0)
}
