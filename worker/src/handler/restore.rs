//! Put a save back (design §8). Nothing is destroyed before the save is proven good: the last block is held back until
//! length and digests have matched, and what is restored gets its name as the last step.

mod new;
mod part;
mod pour;
mod source;
mod stage;

use shared::{
    db::{jobs, work::Purpose},
    id::JobId,
    job::{OwnerPolicy, PrivilegePolicy, RestoreJob},
    save::Mode,
};

use self::source::Source;
use super::{Done, Job, JobError};
use crate::engine::{Connection, Engine, Keep, RestoreOptions};

/// What every way of restoring works with.
#[derive(Debug)]
struct Restoring<'a> {
    job: &'a Job,
    payload: &'a RestoreJob,
    at: Connection,
    source: Source,
    options: RestoreOptions,
}

/// Restores from the first copy that proves good.
pub async fn run(job: &Job, payload: &RestoreJob) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let work = job.target(payload.target_id, Purpose::Restore).await?;
    let (at, _) = job.ctx.connection(&work, job.lease.fence)?;
    let source = Source::load(job, payload.save_id).await?;
    if source.manifest.mode == Mode::Data && payload.part.mode != Mode::Data {
        return Err(JobError::abort(
            "save_without_schema",
            "the save holds data without a schema, which a new database cannot take",
            "Restore a save of mode all.",
        ));
    }
    let options = RestoreOptions {
        owner: if payload.owner == OwnerPolicy::Keep { Keep::Keep } else { Keep::None },
        privileges: if payload.privileges == PrivilegePolicy::Keep { Keep::Keep } else { Keep::None },
    };
    job.ctx.postgres.can_restore(&at, &source.restorable(), &job.lease.cancel).await?;
    job.ctx.postgres.end_older_sessions(&at, &at.maintenance_database, &job.lease.cancel).await?;
    tidy(job, &at).await;
    let restoring = Restoring { job, payload, at, source, options };
    if part::is_wanted(&restoring) {
        return part::run(&restoring).await;
    }
    new::run(&restoring).await
}

/// Takes away what restores of ended jobs left on this server: no attempt of theirs will come to do it. Whatever goes
/// wrong here is no matter of this job.
async fn tidy(job: &Job, at: &Connection) {
    let engine = &job.ctx.postgres;
    let tidied = async {
        for left in engine.left_behind(at, &job.lease.cancel).await? {
            let mut conn = job.ctx.pool.acquire().await?;
            let row = jobs::get(&mut conn, JobId(left.job())).await?;
            drop(conn);
            if row.is_some_and(|row| row.state.is_terminal()) {
                tracing::info!(database = %left.database(), left.job = %left.job(), "dropping what a restore of an ended job left");
                engine.discard(at, left).await?;
            }
        }
        Ok::<_, JobError>(())
    };
    if let Err(error) = tidied.await {
        tracing::warn!(error = &error as &dyn std::error::Error, "what ended restores left could not be taken away");
    }
}

/// Whether another copy may help.
#[derive(Debug)]
enum Attempt {
    Copy(JobError),
    Job(JobError),
}

impl<E: Into<JobError>> From<E> for Attempt {
    fn from(error: E) -> Self {
        Self::Job(error.into())
    }
}
