//! The save of what is there, before it is replaced or emptied: a step of the restore or wipe, with a save row of its own.

use shared::{
    db::{claim, saves},
    failpoint,
    id::{SaveId, TargetId},
    job::BackupJob,
    save::{Mode, SaveState},
};
use sqlx::Connection as _;

use super::{super::backup, Job, JobError};
use crate::{lease::Stop, record};

/// What a restore says to whoever cannot have one.
pub(super) const ADVICE: &str = "Without a safety save (safety: false) the restore needs nothing of what is there.";

/// Makes the safety save, unless an earlier attempt of this job has made it. `advice` is for whoever cannot have one.
pub(in crate::handler) async fn save(
    job: &Job,
    target_id: TargetId,
    save_id: SaveId,
    advice: &str,
) -> Result<(), JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let save = saves::get(&mut conn, save_id).await?;
    drop(conn);
    if save.is_some_and(|save| save.state == SaveState::Available) {
        return Ok(());
    }
    let backup = BackupJob {
        v: 1,
        save_id,
        target_id,
        mode: Mode::All,
        tables: Vec::new(),
        exclude_tables: Vec::new(),
        collections: Vec::new(),
        exclude_collections: Vec::new(),
        bytes_per_s: None,
    };
    let saved = backup::make(job, &backup).await.map_err(|error| explain(job, error, advice))?;
    let mut conn = job.ctx.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    if !claim::owns(&mut tx, job.lease.fence).await? {
        job.lease.stop(Stop::Lost);
        return Err(JobError::Stopped);
    }
    record::safety(&mut tx, &job.ctx.jobs, job.lease.fence, &saved).await?;
    failpoint!("safety.commit.before");
    // An answer that is lost makes an attempt that fails; the next one finds the save and goes on from there.
    tx.commit().await?;
    failpoint!("safety.commit.after");
    Ok(())
}

fn explain(job: &Job, error: JobError, advice: &str) -> JobError {
    if job.lease.stopped().is_some() {
        return error;
    }
    match error {
        JobError::Abort(mut problem) => {
            problem.message = format!("what is there could not be saved first: {}", problem.message);
            problem.hint = format!("{} {advice}", problem.hint);
            JobError::Abort(problem)
        }
        other => other,
    }
}
