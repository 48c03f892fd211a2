//! Plain SQL of `pg_dump`, which people bring: run by psql in a new database, in one transaction that is ours to end (guarantees
//! §0.1, D3; ADR 34).
//!
//! psql is under `\restrict` with a key of our own before it sees a byte of the dump: every backslash command is refused. Server
//! programs and files are the role's business, which is looked at before: see [`Postgres::powers`].

mod psql;
pub(crate) mod text;

use shared::name::DatabaseName;
use tokio_util::sync::CancellationToken;

pub(crate) use self::psql::{Psql, Ran};
use super::{
    super::{Connection, EngineError, ErrorCode, clients::Client},
    Postgres,
    connect::{cancellable, connect, query},
    parts::Ended,
};

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Ordinary and partitioned tables.
    pub(crate) tables: i64,
    /// On the server's disk.
    pub(crate) bytes: i64,
}

impl Postgres {
    /// The psql for foreign text and this server. One without the fixes of guarantees §4.6 may be made to run programs by the text
    /// (CVE-2025-8714, CVE-2026-18408), so it gets none.
    pub(crate) async fn client_for_plain(
        &self,
        at: &Connection,
        cancel: &CancellationToken,
    ) -> Result<&Client, EngineError> {
        let major = cancellable(cancel, server_major(at)).await?;
        let fit = |client: &&Client| !client.lacks_fixes() && client.tool("psql").is_file();
        let mut fit = self.clients.all().iter().filter(fit);
        // The server's own or the next above; else the newest below, which speaks to newer servers, too.
        let own = fit.clone().find(|client| client.major >= major);
        own.or_else(|| fit.next_back()).ok_or_else(|| {
            let installed: Vec<String> = self.clients.all().iter().map(Client::version).collect();
            let message = format!(
                "none of the PostgreSQL clients on this worker ({}) has a psql that is safe with people's text",
                if installed.is_empty() { "none".to_owned() } else { installed.join(", ") }
            );
            let hint = "install the client programs of 14.24, 15.19, 16.15, 17.11, 18.6 or newer: in older ones a dump can start programs on the worker";
            EngineError::new(ErrorCode::ClientTooOld, message).with_hint(hint)
        })
    }

    /// What the role may do on the server beyond its databases: start programs, read and write files, or become who may. Empty: none
    /// of it.
    pub(crate) async fn powers(&self, at: &Connection, cancel: &CancellationToken) -> Result<Vec<String>, EngineError> {
        cancellable(cancel, async {
            let mut session = connect(at, &at.maintenance_database).await?;
            // Before 16 who may create roles may give themselves any that is no superuser.
            sqlx::query_scalar(
                "SELECT CASE WHEN r.rolname = current_user AND r.rolsuper THEN 'a superuser'
                             WHEN r.rolname = current_user THEN 'one who may create roles'
                             ELSE 'a member of ' || r.rolname END
                   FROM pg_roles r
                  WHERE pg_has_role(current_user, r.oid, 'MEMBER')
                    AND (r.rolsuper OR r.rolcreaterole AND current_setting('server_version_num')::int < 160000
                         OR r.rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
                  ORDER BY r.rolname <> current_user, r.rolname LIMIT 5",
            )
            .fetch_all(&mut session)
            .await
            .map_err(query("asking what the role may do"))
        })
        .await
    }

    /// Asks the server whether the transaction of [`Ran`] is committed, whatever psql said.
    pub(crate) async fn require_committed(
        &self,
        at: &Connection,
        database: &DatabaseName,
        ran: &Ran,
    ) -> Result<(), EngineError> {
        match self.transaction_ended(at, database, &ran.id).await? {
            Ended::Committed => Ok(()),
            ended => {
                let message =
                    format!("psql ended well, and the server does not know its transaction as committed ({ended:?})");
                Err(EngineError::new(ErrorCode::SqlFailed, message))
            }
        }
    }

    /// What a database holds now.
    pub(crate) async fn held(
        &self,
        at: &Connection,
        database: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<Held, EngineError> {
        cancellable(cancel, async {
            let mut session = connect(at, database).await?;
            let (tables, bytes) = sqlx::query_as(
                "SELECT (SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relpersistence <> 't' AND oid >= 16384),
                        pg_database_size(current_database())",
            )
            .fetch_one(&mut session)
            .await
            .map_err(query("looking what came"))?;
            Ok(Held { tables, bytes })
        })
        .await
    }
}

async fn server_major(at: &Connection) -> Result<u32, EngineError> {
    let mut session = connect(at, &at.maintenance_database).await?;
    let number: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
        .fetch_one(&mut session)
        .await
        .map_err(query("asking for the server's version"))?;
    Ok(u32::try_from(number).unwrap_or_default() / 10_000)
}
