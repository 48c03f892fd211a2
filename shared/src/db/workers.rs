//! Worker processes, one row per start: what an operator looks at when nothing is claimed.

use sqlx::PgConnection;
use uuid::Uuid;

use super::DbError;

/// A worker as it announces itself.
#[derive(Debug, Clone)]
pub struct WorkerRow {
    pub id: Uuid,
    pub name: String,
    pub groups: Vec<String>,
    pub slots: i32,
    pub version: String,
    pub stores: Vec<String>,
    pub key_ids: Vec<String>,
}

/// Says that the worker lives.
pub async fn seen(conn: &mut PgConnection, worker: &WorkerRow) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO workers (id, name, groups, slots, version, stores, key_ids) VALUES ($1,$2,$3,$4,$5,$6,$7)
         ON CONFLICT (id) DO UPDATE SET last_seen_at = clock_timestamp()",
        worker.id,
        worker.name,
        &worker.groups,
        worker.slots,
        worker.version,
        &worker.stores,
        &worker.key_ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the worker's row away when it stops in order.
pub async fn gone(conn: &mut PgConnection, id: Uuid) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM workers WHERE id = $1", id).execute(conn).await?;
    Ok(())
}
