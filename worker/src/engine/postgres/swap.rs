//! Two databases change places in one transaction on the maintenance database (design §8).
//!
//! `ALTER DATABASE … RENAME` locks the name against new sessions and waits up to five seconds for those that are there to
//! go, so they are ended from a second session meanwhile. Nothing is ever disallowed: a worker that dies in the middle
//! leaves an open transaction, which ends with its connection, and one that freezes there is ended by the server.

use std::time::Duration;

use shared::{
    job::{Placed, Swap},
    name::DatabaseName,
};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use uuid::Uuid;

use super::{
    super::{Connection, EngineError, ErrorCode},
    Postgres,
    connect::{connect, ident, literal, query},
    restore::{Kept, drop_database, end_sessions, kept_comment, kept_name},
};

/// How often sessions that came back are ended again while a rename waits for them.
const END_AGAIN: Duration = Duration::from_millis(50);

/// Where two databases stand that were to change places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// As they were.
    Before,
    /// They have changed places.
    Swapped,
    /// Somebody else has renamed, dropped or created: what they are now.
    Changed(String),
}

/// A swap that is done, and not yet committed. Dropped, it never was.
#[derive(Debug)]
pub struct PendingSwap {
    session: PgConnection,
}

impl PendingSwap {
    /// Makes it so. After an error it is unknown whether it is: [`Postgres::look`] tells.
    pub async fn commit(mut self) -> Result<(), EngineError> {
        self.session.execute("COMMIT").await.map(drop).map_err(query("committing the swap"))
    }
}

impl Postgres {
    /// The database that makes way, under the name that it gets.
    pub fn outgoing(&self, at: &Connection, database: &DatabaseName, oid: u32) -> Result<Placed, EngineError> {
        Ok(Placed { name: kept_name(database, at.session.job)?, oid })
    }

    /// Renames both, and leaves the transaction open. `comment` is what the database that comes in says afterwards.
    pub async fn swap(&self, at: &Connection, swap: &Swap, comment: Option<&str>) -> Result<PendingSwap, EngineError> {
        let mut session = connect(at, &at.maintenance_database).await?;
        let what = "changing the databases' places";
        let begin = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'";
        session.execute(sqlx::raw_sql(begin)).await.map_err(query(what))?;
        if look_in(&mut session, swap).await? != Look::Before {
            return Err(EngineError::new(ErrorCode::TargetChanged, "the databases are not as they were"));
        }
        let mut ending = connect(at, &at.maintenance_database).await?;
        if let Some(outgoing) = &swap.outgoing {
            let text = comment_of(&mut session, swap.database.as_str()).await?;
            let name = &outgoing.name;
            rename(&mut session, &mut ending, &swap.database, name).await?;
            let comment = kept_comment(at, text.as_deref());
            set_comment(&mut session, name, Some(&comment)).await?;
        }
        rename(&mut session, &mut ending, &swap.incoming.name, &swap.database).await?;
        set_comment(&mut session, &swap.database, comment).await?;
        Ok(PendingSwap { session })
    }

    /// Where the two stand now.
    pub async fn look(&self, at: &Connection, swap: &Swap) -> Result<Look, EngineError> {
        look_in(&mut connect(at, &at.maintenance_database).await?, swap).await
    }

    /// Drops a database that `job` put aside, if it is still that one: its oid, its name and its mark say so. `false`: it
    /// is not there any more, or somebody's by now.
    pub async fn drop_kept(&self, at: &Connection, job: Uuid, kept: &Placed) -> Result<bool, EngineError> {
        let mut session = connect(at, &at.maintenance_database).await?;
        if name_of(&mut session, kept.oid).await?.as_deref() != Some(kept.name.as_str()) {
            return Ok(false);
        }
        let comment = comment_of(&mut session, kept.name.as_str()).await?;
        if !Kept::says(comment.as_deref(), at.installation, job) {
            return Ok(false);
        }
        drop_database(&mut session, &kept.name).await?;
        Ok(true)
    }
}

async fn look_in(session: &mut PgConnection, swap: &Swap) -> Result<Look, EngineError> {
    let oids: Vec<(String, sqlx::postgres::types::Oid)> =
        sqlx::query_as("SELECT datname::text, oid FROM pg_database WHERE datname = ANY($1)")
            .bind(
                [Some(swap.database.as_str()), Some(swap.incoming.name.as_str())]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>(),
            )
            .fetch_all(session)
            .await
            .map_err(query("looking where the databases stand"))?;
    let at = |name: &DatabaseName| oids.iter().find(|(found, _)| found == name.as_str()).map(|(_, oid)| oid.0);
    let (placed, waiting) = (at(&swap.database), at(&swap.incoming.name));
    Ok(if placed == Some(swap.incoming.oid) {
        Look::Swapped
    } else if placed == swap.outgoing.as_ref().map(|outgoing| outgoing.oid) && waiting == Some(swap.incoming.oid) {
        Look::Before
    } else {
        let say = |oid: Option<u32>| oid.map_or_else(|| "absent".to_owned(), |oid| format!("oid {oid}"));
        Look::Changed(format!(
            "{:?} is {}, {:?} is {}",
            swap.database.as_str(),
            say(placed),
            swap.incoming.name.as_str(),
            say(waiting)
        ))
    })
}

/// Renames, ending the sessions on the database for as long as the rename waits for them.
async fn rename(
    session: &mut PgConnection,
    ending: &mut PgConnection,
    from: &DatabaseName,
    to: &DatabaseName,
) -> Result<(), EngineError> {
    let sql = format!("ALTER DATABASE {} RENAME TO {}", ident(from.as_str()), ident(to.as_str()));
    end_sessions(ending, from).await?;
    let renaming =
        async { session.execute(AssertSqlSafe(sql)).await.map(drop).map_err(query("renaming the database")) };
    let ended = async {
        loop {
            tokio::time::sleep(END_AGAIN).await;
            end_sessions(ending, from).await?;
        }
    };
    tokio::select! {
        biased;
        renamed = renaming => renamed,
        failed = ended => failed,
    }
}

async fn set_comment(
    session: &mut PgConnection,
    database: &DatabaseName,
    comment: Option<&str>,
) -> Result<(), EngineError> {
    let text = comment.map_or_else(|| "NULL".to_owned(), literal);
    let sql = format!("COMMENT ON DATABASE {} IS {text}", ident(database.as_str()));
    session.execute(AssertSqlSafe(sql)).await.map(drop).map_err(query("marking the database"))
}

async fn comment_of(session: &mut PgConnection, name: &str) -> Result<Option<String>, EngineError> {
    let found: Option<Option<String>> =
        sqlx::query_scalar("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1")
            .bind(name)
            .fetch_optional(session)
            .await
            .map_err(query("reading the database's comment"))?;
    Ok(found.flatten())
}

async fn name_of(session: &mut PgConnection, oid: u32) -> Result<Option<String>, EngineError> {
    sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE oid = $1")
        .bind(sqlx::postgres::types::Oid(oid))
        .fetch_optional(session)
        .await
        .map_err(query("looking for the database"))
}
