//! What all work on a MongoDB database begins with.

use mongodb::Database;
use shared::{
    db::{jobs, kept, work::TargetWork},
    id::JobId,
    job::JobState,
    name::DatabaseName,
};

use super::{Job, JobError};
use crate::engine::{
    Connection, Engine as _,
    mongodb::{
        Session,
        restore::{Survey, series::give_all, survey::drop_staged},
    },
};

/// The engine's word in rows of targets.
pub(super) const MONGODB: &str = "mongodb";

/// Databases of the server's own.
const SYSTEM: [&str; 3] = ["admin", "config", "local"];

/// A server, and the database on it that is worked on.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) at: Connection,
    pub(super) session: Session,
    pub(super) database: Database,
}

impl Place {
    /// Connects as the target's credential for restores says, after older attempts of the job were ended on the server.
    pub(super) async fn open(job: &Job, work: &TargetWork, database: &DatabaseName) -> Result<Self, JobError> {
        let (at, _) = job.ctx.connection_to_any(work, job.lease.fence)?;
        let (engine, cancel) = (&job.ctx.mongodb, &job.lease.cancel);
        engine.end_older_sessions(&at, database, cancel).await?;
        let session = engine.session(&at, cancel).await?;
        let database = session.database(database);
        Ok(Self { at, session, database })
    }
}

/// Takes away what restores of ended jobs left on this server: no attempt of theirs will come to do it. Whatever goes wrong here
/// is no matter of this job.
pub(super) async fn tidy(job: &Job, place: &Place) {
    let names = match place.session.client().list_database_names().await {
        Ok(names) => names,
        Err(error) => {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the databases cannot be listed: the restore looks at its own alone"
            );
            vec![place.database.name().to_owned()]
        }
    };
    for name in &names {
        if SYSTEM.contains(&name.as_str()) {
            continue;
        }
        if let Err(error) = tidy_one(job, &place.session.client().database(name)).await {
            tracing::warn!(database = %name, error = &error as &dyn std::error::Error, "what ended restores left could not be taken away");
        }
    }
}

async fn tidy_one(job: &Job, database: &Database) -> Result<(), JobError> {
    let survey = Survey::of(database).await?;
    let mut staged: Vec<_> = survey.ours().filter_map(|(_, own)| own.attempt()).map(|tag| tag.job).collect();
    staged.sort_unstable();
    staged.dedup();
    for id in staged {
        let mut conn = job.ctx.pool.acquire().await?;
        let row = jobs::get(&mut conn, JobId(id)).await?;
        let waits = kept::of_job(&mut conn, JobId(id)).await?.is_some_and(|kept| kept.is_kept);
        drop(conn);
        // A job that is not known here is another installation's.
        if let Some(row) = row.filter(|row| !waits && row.state.is_terminal()) {
            if row.state == JobState::Succeeded {
                // A server that forgot what it was told last. What was restored is no more ours.
                give_all(database, id).await?;
            }
            let dropped = drop_staged(database, id, None).await?;
            tracing::info!(database = database.name(), left.job = %id, collections = dropped, "dropped what a restore of an ended job left");
        }
    }
    Ok(())
}
