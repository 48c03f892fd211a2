//! Into a database that is in use, where the role may not create another: one transaction of `pg_restore --clean` drops
//! what the save holds and makes it anew. What the save does not hold stays.

use shared::{job::Evidence, name::DatabaseName};
use sqlx::postgres::types::Oid;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Connection, EngineError, Restorable, Restore, RestoreOptions},
    Postgres, classify,
    connect::{connect, query},
    not_started,
    restore::arguments,
};

/// How many tables are remembered as evidence.
const REMEMBERED: i64 = 1000;

impl Postgres {
    /// Starts the restore tool on the database itself. It commits when it has read all it needs: hold the end back.
    pub async fn start_direct(
        &self,
        at: &Connection,
        database: &DatabaseName,
        saved: &Restorable,
        options: &RestoreOptions,
        cancel: &CancellationToken,
    ) -> Result<Restore, EngineError> {
        let client = self.client_for_restore(at, saved, cancel).await?;
        let mut tool = self.tool(at, Some(database), client, "pg_restore")?;
        tool.piped_stdin = true;
        tool.args = arguments(database, options);
        tool.args.extend(["--clean", "--if-exists"].map(Into::into));
        // Whoever reads a table that is to be dropped is waited for, and new readers wait behind us: not for ever.
        for (name, value) in &mut tool.env {
            if *name == "PGOPTIONS" {
                *value = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=60s".into();
            }
        }
        let started = self.launcher.start(tool, cancel).await.map_err(not_started("pg_restore"))?;
        Ok(Restore::of_process(started, "pg_restore", classify::stderr))
    }

    /// What will show later whether the transaction was committed: the tables as they are now, by their oids.
    pub async fn evidence(&self, at: &Connection, database: &DatabaseName) -> Result<Evidence, EngineError> {
        let tables: Vec<Oid> = sqlx::query_scalar(
            "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p', 'S', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                AND NOT EXISTS (SELECT FROM pg_depend d
                                 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
              ORDER BY c.oid LIMIT $1",
        )
        .bind(REMEMBERED)
        .fetch_all(&mut connect(at, database).await?)
        .await
        .map_err(query("looking at the tables"))?;
        Ok(Evidence { relations: tables.into_iter().map(|oid| oid.0).collect() })
    }

    /// Whether it was: a transaction that was committed has made the relations that it replaced anew.
    pub async fn was_committed(
        &self,
        at: &Connection,
        database: &DatabaseName,
        before: &Evidence,
    ) -> Result<bool, EngineError> {
        let now = self.evidence(at, database).await?;
        Ok(if before.relations.is_empty() {
            !now.relations.is_empty()
        } else {
            before.relations.iter().any(|oid| !now.relations.contains(oid))
        })
    }
}
