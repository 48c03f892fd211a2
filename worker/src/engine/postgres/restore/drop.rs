//! What a restore takes away again. Only a database that proves to be this job's: its name is the staging name of an
//! attempt of the job, and its comment says installation and job; or it has no comment yet and holds nothing.

use std::time::Duration;

use shared::{failpoint, name::DatabaseName};
use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    super::{
        super::{Connection, Created, EngineError, ErrorCode, SessionTag},
        connect::{connect, ident, query},
    },
    mark::{Mark, Stage, staging_epoch, staging_infix, staging_name},
    run,
};

/// How long sessions on a database of ours may take to end.
const SESSIONS_END: Duration = Duration::from_secs(20);

pub(in super::super) async fn discard(at: &Connection, created: &Created) -> Result<(), EngineError> {
    let mut session = connect(at, &at.maintenance_database).await?;
    let Some(comment) = comment_of(&mut session, created.database.as_str()).await? else { return Ok(()) };
    drop_proven(at, &mut session, created.session.job, &created.database, comment).await
}

pub(in super::super) async fn clear(at: &Connection, wanted: &DatabaseName) -> Result<(), EngineError> {
    let mut session = connect(at, &at.maintenance_database).await?;
    drop_leftovers(at, &mut session, wanted).await
}

/// What restores of other jobs of this installation left on the server. Whether those jobs still run is not known here.
pub(in super::super) async fn left_behind(at: &Connection) -> Result<Vec<Created>, EngineError> {
    Ok(staged(at).await?.into_iter().filter(|staged| staged.session.job != at.session.job).collect())
}

/// What restores of this installation have staged on the server and not published.
pub(in super::super) async fn staged(at: &Connection) -> Result<Vec<Created>, EngineError> {
    let mut session = connect(at, &at.maintenance_database).await?;
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database
          WHERE position('__hf_' IN datname) > 0 AND shobj_description(oid, 'pg_database') IS NOT NULL",
    )
    .fetch_all(&mut session)
    .await
    .map_err(query("looking for databases that were left behind"))?;
    let ours = |(name, comment): (String, String)| {
        let Mark { stage, installation, session } = Mark::find(&comment)?;
        let is_left = stage == Stage::Restoring
            && installation == at.installation
            && staging_epoch(&name, session.job) == Some(session.epoch);
        let database = DatabaseName::parse(name).ok().filter(|_| is_left)?;
        Some(Created { wanted: database.clone(), database, session })
    };
    Ok(rows.into_iter().filter_map(ours).collect())
}

/// Drops what older attempts of this job left under their staging names. A newer attempt's means that this one is dead.
pub(super) async fn drop_leftovers(
    at: &Connection,
    session: &mut PgConnection,
    wanted: &DatabaseName,
) -> Result<(), EngineError> {
    let rows: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT datname::text, shobj_description(oid, 'pg_database') FROM pg_database WHERE position($1 IN datname) > 0",
    )
    .bind(staging_infix(at.session.job))
    .fetch_all(&mut *session)
    .await
    .map_err(query("looking for databases of older attempts"))?;
    for (name, comment) in rows {
        let Some(epoch) = staging_epoch(&name, at.session.job) else { continue };
        if epoch > at.session.epoch {
            let message = format!("a newer attempt of this job restores into {name:?}");
            return Err(EngineError::new(ErrorCode::DatabaseInUse, message));
        }
        let expected = staging_name(wanted, SessionTag { epoch, ..at.session })?;
        if expected.as_str() == name {
            drop_proven(at, session, at.session.job, &expected, comment).await?;
        }
    }
    Ok(())
}

async fn drop_proven(
    at: &Connection,
    session: &mut PgConnection,
    job: Uuid,
    staging: &DatabaseName,
    comment: Option<String>,
) -> Result<(), EngineError> {
    let ours = staging_epoch(staging.as_str(), job).is_some()
        && match comment.as_deref().map(Mark::find) {
            Some(Some(mark)) => mark.stage == Stage::Restoring && mark.is_of(at.installation, job),
            Some(None) => false,
            // Killed between the creation and the mark: nothing can have been restored yet.
            None => is_empty(at, staging).await?,
        };
    if !ours {
        let message = format!("{:?} does not carry the mark of job {job} and stays", staging.as_str());
        return Err(EngineError::new(ErrorCode::DatabaseExists, message));
    }
    drop_database(session, staging).await
}

/// Drops a database that was proven to be ours, ending whoever is connected.
pub(in super::super) async fn drop_database(
    session: &mut PgConnection,
    database: &DatabaseName,
) -> Result<(), EngineError> {
    let deadline = Instant::now() + SESSIONS_END;
    loop {
        end_sessions(session, database).await?;
        let sql = format!("DROP DATABASE IF EXISTS {}", ident(database.as_str()));
        failpoint!("restore.drop.before");
        match run(session, sql, "dropping the database").await {
            // The server itself has waited five seconds for them.
            Err(error) if error.code() == ErrorCode::DatabaseInUse && Instant::now() < deadline => {}
            result => {
                failpoint!("restore.drop.after");
                return result;
            }
        }
    }
}

async fn comment_of(session: &mut PgConnection, name: &str) -> Result<Option<Option<String>>, EngineError> {
    sqlx::query_scalar("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1")
        .bind(name)
        .fetch_optional(session)
        .await
        .map_err(query("looking for the database"))
}

async fn is_empty(at: &Connection, database: &DatabaseName) -> Result<bool, EngineError> {
    let mut session = connect(at, database).await?;
    // What a fresh database holds was made by initdb: below the first oid that users get.
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM pg_class WHERE oid >= 16384)
            AND NOT EXISTS (SELECT FROM pg_proc WHERE oid >= 16384)
            AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)",
    )
    .fetch_one(&mut session)
    .await
    .map_err(query("looking whether the database is empty"))
}

/// Ends the sessions on a database of ours, those that this role may end.
pub(in super::super) async fn end_sessions(
    session: &mut PgConnection,
    database: &DatabaseName,
) -> Result<(), EngineError> {
    sqlx::query(
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a LEFT JOIN pg_roles r ON r.oid = a.usesysid
          WHERE a.datname = $1 AND a.pid <> pg_backend_pid() AND a.usesysid IS NOT NULL
            AND ((SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                 OR NOT r.rolsuper AND (pg_has_role(a.usesysid, 'MEMBER') OR pg_has_role('pg_signal_backend', 'MEMBER')))",
    )
    .bind(database.as_str())
    .execute(session)
    .await
    .map(drop)
    .map_err(query("ending the sessions of the database"))
}
