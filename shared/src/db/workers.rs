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
    /// Where the API reaches its port.
    pub transfer_url: Option<String>,
}

/// Says that the worker lives.
pub async fn seen(conn: &mut PgConnection, worker: &WorkerRow) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO workers (id, name, groups, slots, version, stores, key_ids, transfer_url) VALUES ($1,$2,$3,$4,$5,$6,$7,$8)
         ON CONFLICT (id) DO UPDATE SET last_seen_at = clock_timestamp()",
        worker.id,
        worker.name,
        &worker.groups,
        worker.slots,
        worker.version,
        &worker.stores,
        &worker.key_ids,
        worker.transfer_url
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

/// A living worker that carries bytes.
#[derive(Debug, Clone)]
pub struct Carrier {
    pub name: String,
    /// `http://host:port`.
    pub url: String,
    /// Those that it has of the stores that were asked for.
    pub stores: i64,
}

/// Living workers that have at least one of these stores, those with most of them first, those of the group before others;
/// where `within` says so, no others. At most three: whoever does not answer is not asked for long.
pub async fn carriers(
    conn: &mut PgConnection,
    stores: &[String],
    group: &str,
    within: bool,
) -> Result<Vec<Carrier>, DbError> {
    Ok(sqlx::query_as!(
        Carrier,
        r#"SELECT w.name, w.transfer_url AS "url!", has.n AS "stores!"
           FROM workers w CROSS JOIN LATERAL (SELECT count(*) AS n FROM unnest(w.stores) s (name) WHERE s.name = ANY($1)) has
           WHERE w.last_seen_at > clock_timestamp() - interval '1 min' AND w.transfer_url IS NOT NULL AND has.n > 0
             AND (NOT $3 OR $2 = ANY(w.groups))
           ORDER BY has.n DESC, $2 = ANY(w.groups) DESC, random() LIMIT 3"#,
        stores,
        group,
        within
    )
    .fetch_all(conn)
    .await?)
}
