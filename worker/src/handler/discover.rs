//! Look which databases a schedule's server has. What becomes of them the record writes: targets for those that are new, and
//! their backups.

use shared::{
    db::{discovery, schedules},
    job::DiscoverJob,
    name::DatabaseName,
};

use super::{Done, Job, JobError};

/// Asks the server.
pub async fn run(job: &Job, payload: &DiscoverJob) -> Result<Done, JobError> {
    job.phase("discovering").await?;
    let mut conn = job.ctx.pool.acquire().await?;
    let schedule = schedules::get(&mut conn, payload.schedule_id).await?.ok_or_else(|| {
        JobError::abort("schedule_missing", "the schedule was deleted meanwhile", "Nothing is to be done.")
    })?;
    let work = discovery::work(&mut conn, &schedule).await?.ok_or_else(|| {
        let message = "the schedule's server or the credential of its discovery does not exist any more";
        JobError::abort("server_missing", message, "Correct the schedule's settings.")
    })?;
    drop(conn);
    let (at, _) = job.ctx.connection_to_any(&work, job.lease.fence)?;
    let names = job.ctx.engine(at.engine).databases(&at, &job.lease.cancel).await?;
    let mut databases = Vec::with_capacity(names.len());
    for name in names {
        match DatabaseName::parse(name) {
            Ok(name) => databases.push(name),
            Err(error) => tracing::warn!(%error, "a database has a name that no target can have"),
        }
    }
    Ok(Done::Discovered { schedule: Box::new(schedule), databases })
}
