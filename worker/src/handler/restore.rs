//! Put a save back (design §8). Nothing is destroyed before the save is proven good: the last block is held back until
//! length and digests have matched, and what is restored gets its name as the last step.

mod compare;
mod direct;
mod mongo;
mod new;
mod part;
mod pour;
pub(super) mod proof;
pub(super) mod safety;
mod source;
mod stage;
mod swap;

use shared::{
    db::{jobs, work::Purpose},
    id::JobId,
    job::{Method, OwnerPolicy, PrivilegePolicy, RestoreJob},
    name::DatabaseName,
    save::Mode,
};

use self::source::Source;
use super::{Done, Job, JobError, mongo::MONGODB, preflight};
use crate::engine::{Connection, Engine, Keep, RestoreOptions, postgres::Standing};

/// What every way of restoring works with.
#[derive(Debug)]
struct Restoring<'a> {
    job: &'a Job,
    payload: &'a RestoreJob,
    at: Connection,
    source: Source,
    options: RestoreOptions,
    /// Bytes that the server's databases may have together, where somebody said so.
    capacity: Option<i64>,
}

/// Restores from the first copy that proves good.
pub async fn run(job: &Job, payload: &RestoreJob) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let work = job.target(payload.target_id, Purpose::Restore).await?;
    if work.engine == MONGODB {
        return mongo::run(job, payload, &work).await;
    }
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
        replaces: payload.in_place,
    };
    job.ctx.postgres.can_restore(&at, &source.restorable(), &job.lease.cancel).await?;
    job.ctx.postgres.end_older_sessions(&at, &at.maintenance_database, &job.lease.cancel).await?;
    tidy(job, &at).await;
    let restoring = Restoring { job, payload, at, source, options, capacity: work.capacity_bytes };
    if part::is_wanted(&restoring) {
        return part::run(&restoring).await;
    }
    if payload.in_place { in_place(&restoring).await } else { new::run(&restoring).await }
}

/// In the place of the target's own database: first saved, then replaced.
async fn in_place(restoring: &Restoring<'_>) -> Result<Done, JobError> {
    let Restoring { job, payload, at, source, .. } = restoring;
    let standing = job.ctx.postgres.standing(at, &payload.database).await?;
    let direct = match (payload.method, &standing.cannot_swap) {
        (Method::Direct, _) => Some("as asked for"),
        (Method::Auto, Some(why)) => Some(why.as_str()),
        (Method::Auto | Method::Swap, _) => {
            require_swappable(at, &standing, &payload.database)?;
            None
        }
    };
    preflight::require(job, at, &source.manifest, source.copies(), &source.properties, payload, restoring.capacity)
        .await?;
    // A database that was dropped has nothing to save, and nothing to restore into.
    match (&standing.existing, direct) {
        (Some(_), _) => {
            if let Some(save) = payload.safety_save_id {
                safety::save(job, payload.target_id, save, safety::ADVICE).await?;
            }
        }
        (None, Some(_)) => {
            return Err(JobError::abort(
                "database_missing",
                format!("there is no database {:?}, and this role may not create it", payload.database.as_str()),
                "Create it, or give the restore credential's role CREATEDB.",
            ));
        }
        (None, None) => {}
    }
    match direct {
        Some(why) => direct::run(restoring, why).await,
        None => swap::run(restoring, &standing).await,
    }
}

/// Refuses what a swap cannot do, or would tear off.
pub(super) fn require_swappable(at: &Connection, standing: &Standing, database: &DatabaseName) -> Result<(), JobError> {
    if at.maintenance_database == *database {
        return Err(JobError::abort(
            "invalid_request",
            format!(
                "database {:?} is the server's maintenance database: nobody can rename what he is connected to",
                database.as_str()
            ),
            "Give the server another maintenance_database (template1, or an empty one made for it).",
        ));
    }
    if let Some(why) = &standing.cannot_swap {
        return Err(JobError::abort(
            "permission_denied",
            format!("the databases cannot be swapped: {why}"),
            "Give the restore credential's role CREATEDB and membership in the database's owner.",
        ));
    }
    if standing.ties.is_empty() {
        return Ok(());
    }
    Err(JobError::abort(
        "database_tied",
        format!("database {:?} cannot be replaced by another: it has {}", database.as_str(), standing.ties.join(", ")),
        "Drop the slots and subscriptions, and commit or roll back the prepared transactions; or restore into a new database.",
    ))
}

/// Takes away what restores of ended jobs left on this server: no attempt of theirs will come to do it. Whatever goes
/// wrong here is no matter of this job.
pub(super) async fn tidy(job: &Job, at: &Connection) {
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
