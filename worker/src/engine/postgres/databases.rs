//! Which databases a server has.

use sqlx::Row as _;

use super::{
    super::{Connection, EngineError},
    connect::{connect, query},
};

/// The names of all that take connections and are no templates, but for what restores of ours have staged or put aside.
pub(super) async fn databases(at: &Connection) -> Result<Vec<String>, EngineError> {
    let mut session = connect(at, &at.maintenance_database).await?;
    let rows = sqlx::query(
        "SELECT datname::text FROM pg_database
         WHERE datallowconn AND NOT datistemplate AND position('__hf_' IN datname) = 0 ORDER BY datname",
    )
    .fetch_all(&mut session)
    .await
    .map_err(query("listing the databases of the server"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
