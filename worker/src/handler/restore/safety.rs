//! The save of what is there, before it is replaced: a step of the restore, with a save row of its own.

use shared::{
    db::{claim, saves},
    failpoint,
    id::SaveId,
    job::{BackupJob, RestoreJob},
    save::{Mode, SaveState},
};
use sqlx::Connection as _;

use super::{super::backup, Job, JobError};
use crate::{lease::Stop, record};

/// Makes the safety save, unless an earlier attempt of this job has made it.
pub(super) async fn save(job: &Job, payload: &RestoreJob, save_id: SaveId) -> Result<(), JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let save = saves::get(&mut conn, save_id).await?;
    drop(conn);
    if save.is_some_and(|save| save.state == SaveState::Available) {
        return Ok(());
    }
    let backup = BackupJob {
        v: 1,
        save_id,
        target_id: payload.target_id,
        mode: Mode::All,
        tables: Vec::new(),
        exclude_tables: Vec::new(),
        collections: Vec::new(),
        exclude_collections: Vec::new(),
    };
    let saved = backup::make(job, &backup).await.map_err(|error| explain(job, error))?;
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

fn explain(job: &Job, error: JobError) -> JobError {
    if job.lease.stopped().is_some() {
        return error;
    }
    let advice = "Without a safety save (safety: false) the restore needs nothing of what is there.";
    match error {
        JobError::Abort(mut problem) => {
            problem.message = format!("what is there could not be saved first: {}", problem.message);
            problem.hint = format!("{} {advice}", problem.hint);
            JobError::Abort(problem)
        }
        other => other,
    }
}
