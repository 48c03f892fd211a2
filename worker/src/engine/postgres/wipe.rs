//! Emptying a database: its rows, sequences and large objects in one transaction, so that it is whole or not at all.
//!
//! One `TRUNCATE … RESTART IDENTITY` names every table, each by itself (`ONLY`), and never cascades: what it does not name keeps
//! its rows, or the server refuses it all.

mod plan;
mod survey;

use shared::{name::DatabaseName, wipe::KeepPattern};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio_util::sync::CancellationToken;

pub use self::plan::WipePlan;
use super::{
    super::{Connection, EngineError, ErrorCode},
    Postgres,
    connect::{cancellable, connect, query},
    preflight::Finding,
};

/// Where the functions of an application look for what they name, in triggers on TRUNCATE and in the queries of views. Statements
/// under it name everything with its schema and call nothing.
const AS_APPLICATION: &str = "SET LOCAL search_path = \"$user\", public";
const AS_OURSELVES: &str = "SET LOCAL search_path = pg_catalog";

/// Large objects of one transaction, where all of them are too many for one.
const BATCH: usize = 500;

/// A wipe that is done but for its commit. Dropped, it is rolled back by the server.
#[derive(Debug)]
pub struct Wiping {
    session: PgConnection,
    /// The whole transaction id in digits.
    pub transaction: String,
    /// With the rows as they were counted under the lock.
    pub plan: WipePlan,
    /// The large objects that are to be unlinked afterwards.
    objects: Vec<i64>,
}

impl Postgres {
    /// What a wipe would do, asked in a session that cannot write.
    pub async fn plan_wipe(
        &self,
        at: &Connection,
        database: &DatabaseName,
        keep: &[KeepPattern],
        cancel: &CancellationToken,
    ) -> Result<WipePlan, EngineError> {
        let look = async {
            let mut session = connect(at, database).await?;
            let sql = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
            session.execute(sql).await.map_err(query("making the session read-only"))?;
            Ok(WipePlan::of(&survey::survey(&mut session).await?, keep))
        };
        cancellable(cancel, look).await
    }

    /// Does everything but the commit. It waits for each lock as long as said, and then gives up.
    pub async fn wipe(
        &self,
        at: &Connection,
        database: &DatabaseName,
        keep: &[KeepPattern],
        lock_timeout_s: u32,
        cancel: &CancellationToken,
    ) -> Result<Wiping, EngineError> {
        cancellable(cancel, wipe(at, database, keep, lock_timeout_s)).await
    }

    /// How many large objects the database has.
    pub async fn large_objects(&self, at: &Connection, database: &DatabaseName) -> Result<i64, EngineError> {
        sqlx::query_scalar("SELECT count(*) FROM pg_largeobject_metadata")
            .fetch_one(&mut connect(at, database).await?)
            .await
            .map_err(query("counting the large objects"))
    }
}

impl Wiping {
    /// Makes it final. Its answer may be lost: then only the transaction's id tells what became of it.
    pub async fn commit(&mut self) -> Result<(), EngineError> {
        self.session.execute("COMMIT").await.map(drop).map_err(query("committing the wipe"))
    }

    /// After the commit: unlinks, in transactions that have locks enough, what was too much for the one. How many were
    /// unlinked, and why not all.
    pub async fn unlink_rest(&mut self) -> (usize, Option<EngineError>) {
        let mut unlinked = 0;
        for batch in self.objects.chunks(BATCH) {
            match unlink(&mut self.session, batch).await {
                Ok(()) => unlinked += batch.len(),
                Err(error) => return (unlinked, Some(error)),
            }
        }
        (unlinked, None)
    }

    /// Large objects that are left for [`Self::unlink_rest`].
    pub fn rest(&self) -> usize {
        self.objects.len()
    }

    /// Closes the session.
    pub async fn close(self) {
        if let Err(error) = self.session.close().await {
            tracing::debug!(%error, "the session of the wipe did not close well");
        }
    }
}

async fn wipe(
    at: &Connection,
    database: &DatabaseName,
    keep: &[KeepPattern],
    lock_timeout_s: u32,
) -> Result<Wiping, EngineError> {
    let mut session = connect(at, database).await?;
    // Row security is no filter of what is counted: where it would be one, the statement fails.
    let begin = format!(
        "BEGIN; SET LOCAL lock_timeout = '{lock_timeout_s}s'; SET LOCAL statement_timeout = 0;
         SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL row_security = off"
    );
    session.execute(AssertSqlSafe(begin)).await.map_err(query("beginning the wipe"))?;
    let mut plan = WipePlan::of(&survey::survey(&mut session).await?, keep);
    if let Some(Finding { code, message, hint, .. }) = plan.obstacle() {
        // What was looked at before has changed since.
        let of = if *code == "permission_denied" { ErrorCode::PermissionDenied } else { ErrorCode::DependentObjects };
        return Err(EngineError::new(of, message.clone()).with_hint(hint.clone()));
    }
    empty_tables(&mut session, &mut plan).await?;
    for sequence in &plan.restart {
        let sql = format!("ALTER SEQUENCE {sequence} RESTART");
        session.execute(AssertSqlSafe(sql)).await.map_err(query(&format!("restarting sequence {sequence}")))?;
    }
    let mut objects: Vec<i64> = Vec::new();
    if plan.large_objects > 0 {
        let rows = sqlx::query("SELECT oid::int8 FROM pg_largeobject_metadata ORDER BY oid")
            .fetch_all(&mut session)
            .await
            .map_err(query("listing the large objects"))?;
        objects = rows.iter().map(|row| row.get(0)).collect();
        if plan.objects_fit {
            for batch in objects.chunks(BATCH) {
                unlink(&mut session, batch).await?;
            }
            objects.clear();
        }
    }
    let look = || query("setting where names are looked for");
    session.execute(AS_APPLICATION).await.map_err(look())?;
    for view in &plan.views {
        let sql = format!("REFRESH MATERIALIZED VIEW {view}");
        session.execute(AssertSqlSafe(sql)).await.map_err(|error| {
            query(&format!("refreshing materialized view {view}"))(error)
                .with_hint("keep the view too, or mend it: nothing was changed")
        })?;
    }
    session.execute(AS_OURSELVES).await.map_err(look())?;
    let transaction: String = sqlx::query_scalar("SELECT pg_current_xact_id()::text")
        .fetch_one(&mut session)
        .await
        .map_err(query("asking for the transaction's id"))?;
    Ok(Wiping { session, transaction, plan, objects })
}

/// Locks, counts, truncates.
async fn empty_tables(session: &mut PgConnection, plan: &mut WipePlan) -> Result<(), EngineError> {
    if plan.truncate.is_empty() {
        return Ok(());
    }
    let all = plan.truncate.join(", ");
    let sql = format!("LOCK TABLE {all} IN ACCESS EXCLUSIVE MODE");
    session.execute(AssertSqlSafe(sql)).await.map_err(query("locking the tables"))?;
    for (name, table) in plan.names.iter().zip(&mut plan.tables) {
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM ONLY {name}")))
            .fetch_one(&mut *session)
            .await
            .map_err(query(&format!("counting the rows of {name}")))?;
        table.rows = Some(count);
    }
    let look = || query("setting where names are looked for");
    session.execute(AS_APPLICATION).await.map_err(look())?;
    let sql = format!("TRUNCATE TABLE {all} RESTART IDENTITY");
    session.execute(AssertSqlSafe(sql)).await.map_err(|error| {
        let refers = error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("0A000");
        let failed = query("truncating the tables")(error);
        if refers { EngineError::new(ErrorCode::DependentObjects, failed.to_string()) } else { failed }
    })?;
    session.execute(AS_OURSELVES).await.map(drop).map_err(look())
}

async fn unlink(session: &mut PgConnection, objects: &[i64]) -> Result<(), EngineError> {
    sqlx::query("SELECT lo_unlink(oid::oid) FROM unnest($1::int8[]) AS t (oid) WHERE EXISTS (SELECT FROM pg_largeobject_metadata m WHERE m.oid = t.oid::oid)")
        .bind(objects)
        .execute(session)
        .await
        .map(drop)
        .map_err(query("unlinking large objects"))
}
