//! The step that makes a restore visible: one transaction gives the database its name and its lasting mark.

use std::time::Duration;

use shared::{failpoint, name::DatabaseName};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::time::Instant;

use super::{
    super::{
        super::{Connection, Created, DatabaseProperties, EngineError, ErrorCode},
        connect::{connect, ident, literal, query},
    },
    drop::{discard, end_sessions},
    find::{Found, find, taken},
    mark::{Mark, Stage, restored_comment},
};

/// How long others' sessions on the new database (a monitoring tool that connects to all) may stand in the way.
const IN_USE: Duration = Duration::from_secs(30);

pub(in super::super) async fn publish(
    at: &Connection,
    created: &Created,
    properties: &DatabaseProperties,
) -> Result<(), EngineError> {
    let mark = Mark::of(at, Stage::Restored);
    let comment = restored_comment(at, properties.comment.as_deref());
    let deadline = Instant::now() + IN_USE;
    loop {
        let mut session = connect(at, &at.maintenance_database).await?;
        match find(&mut session, at, &created.wanted).await? {
            Found::Nothing => {}
            // A reply to COMMIT that was lost.
            Found::Ours(found) if found == mark => return Ok(()),
            // An older attempt that was thought dead had got as far: its database is whole, and maybe used already.
            Found::Ours(_) => return discard(at, created).await,
            Found::Foreign => return Err(taken(&created.wanted)),
        }
        end_sessions(&mut session, &created.database).await?;
        match rename(&mut session, &created.database, &created.wanted, &comment).await {
            Ok(()) => return Ok(()),
            Err(error)
                if matches!(error.code(), ErrorCode::DatabaseInUse | ErrorCode::ConnectionLost)
                    && Instant::now() < deadline =>
            {
                tracing::debug!(error = &error as &dyn std::error::Error, "the database was not renamed yet");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn rename(
    session: &mut PgConnection,
    staging: &DatabaseName,
    wanted: &DatabaseName,
    comment: &str,
) -> Result<(), EngineError> {
    let (staging, wanted) = (ident(staging.as_str()), ident(wanted.as_str()));
    let what = "giving the database its name";
    let mut tx = session.begin().await.map_err(query(what))?;
    for sql in [
        format!("ALTER DATABASE {staging} RENAME TO {wanted}"),
        format!("COMMENT ON DATABASE {wanted} IS {}", literal(comment)),
    ] {
        tx.execute(AssertSqlSafe(sql)).await.map_err(query(what))?;
    }
    failpoint!("restore.publish.before");
    tx.commit().await.map_err(query(what))?;
    failpoint!("restore.publish.after");
    Ok(())
}
