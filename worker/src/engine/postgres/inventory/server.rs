//! What a server says of a restored database, for those who compare it with an inventory.

use std::collections::{BTreeMap, BTreeSet};

use shared::name::DatabaseName;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};
use tokio_util::sync::CancellationToken;

use super::super::{
    super::{Connection, EngineError},
    Postgres,
    connect::{cancellable, connect, ident, query},
};

/// Schema and name.
pub type TableKey = (String, String);

/// Rows that a server counted.
#[derive(Debug, Default)]
pub struct RowCounts {
    /// Of every table that a dump would hold the rows of.
    pub tables: BTreeMap<TableKey, u64>,
    pub large_objects: u64,
    /// Tables that extensions made, with rows of their own: no dump holds them whole.
    pub of_extensions: BTreeSet<TableKey>,
}

impl Postgres {
    /// Counts the rows of these tables; of those that are not there, nothing is said.
    pub async fn count_rows(
        &self,
        at: &Connection,
        database: &DatabaseName,
        wanted: &BTreeSet<TableKey>,
        cancel: &CancellationToken,
    ) -> Result<RowCounts, EngineError> {
        let work = async {
            let what = "counting what was restored";
            let mut session = connect(at, database).await?;
            // Rows that are hidden from this role are an error, not fewer rows.
            session.execute("SET row_security = off; SET statement_timeout = 0").await.map_err(query(what))?;
            let tables = sqlx::query(
                "SELECT nspname::text, relname::text, EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                        AND d.objid = c.oid AND d.deptype = 'e')
                   FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
                  WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'",
            )
            .fetch_all(&mut session)
            .await
            .map_err(query(what))?;
            let mut counts = RowCounts::default();
            for row in tables {
                let key = (row.get(0), row.get(1));
                if row.get(2) {
                    counts.of_extensions.insert(key);
                } else if wanted.contains(&key) {
                    let sql = format!("SELECT count(*) FROM ONLY {}.{}", ident(&key.0), ident(&key.1));
                    let rows: i64 =
                        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut session).await.map_err(query(what))?;
                    counts.tables.insert(key, u64::try_from(rows).unwrap_or_default());
                }
            }
            let objects: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_largeobject_metadata")
                .fetch_one(&mut session)
                .await
                .map_err(query(what))?;
            counts.large_objects = u64::try_from(objects).unwrap_or_default();
            Ok(counts)
        };
        cancellable(cancel, work).await
    }

    /// Tables that inherit columns from others: `pg_dump` creates them with these first, wherever they were before, and
    /// so their rows may be written in another order of columns than where they are from.
    pub async fn inheriting(
        &self,
        at: &Connection,
        database: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<BTreeSet<TableKey>, EngineError> {
        let work = async {
            let mut session = connect(at, database).await?;
            let rows = sqlx::query(
                "SELECT DISTINCT nspname::text, relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid
                   JOIN pg_namespace n ON n.oid = relnamespace WHERE NOT relispartition AND relkind = 'r'",
            )
            .fetch_all(&mut session)
            .await
            .map_err(query("looking for inherited columns"))?;
            Ok(rows.into_iter().map(|row| (row.get(0), row.get(1))).collect())
        };
        cancellable(cancel, work).await
    }
}
