//! Database servers.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, ensure_rows};
use crate::{
    id::ServerId,
    name::{DatabaseName, HostName, Slug},
    server::{Auth, Engine, TlsMode},
};

#[derive(Debug, Clone)]
pub struct ServerRow {
    pub id: ServerId,
    pub name: Slug,
    pub engine: Engine,
    pub host: HostName,
    pub port: i32,
    pub tls_mode: TlsMode,
    pub tls_ca_pem: Option<String>,
    pub maintenance_database: DatabaseName,
    pub max_jobs: i32,
    /// Bytes that all its databases may have together, as the operator says.
    pub capacity_bytes: Option<i64>,
    /// Of a `MongoDB` server of several hosts: its [`crate::server::MongoUri`].
    pub uri: Option<String>,
    pub auth: Auth,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

pub async fn insert(conn: &mut PgConnection, row: &ServerRow) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO servers (id, name, engine, host, port, tls_mode, tls_ca_pem, maintenance_database, max_jobs, capacity_bytes,
                              uri, auth)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        row.id.0,
        row.name.as_str(),
        row.engine.as_str(),
        row.host.as_str(),
        row.port,
        row.tls_mode.as_str(),
        row.tls_ca_pem,
        row.maintenance_database.as_str(),
        row.max_jobs,
        row.capacity_bytes,
        row.uri,
        row.auth.as_str()
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn get(conn: &mut PgConnection, id: ServerId) -> Result<Option<ServerRow>, DbError> {
    Ok(sqlx::query_as!(
        ServerRow,
        "SELECT id, name, engine, host, port, tls_mode, tls_ca_pem, maintenance_database, max_jobs, capacity_bytes, uri, auth,
             created_at, updated_at
         FROM servers WHERE id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// By name. Answers the page and the whole count.
pub async fn list(conn: &mut PgConnection, limit: i64, offset: i64) -> Result<(Vec<ServerRow>, i64), DbError> {
    let rows = sqlx::query_as!(
        ServerRow,
        "SELECT id, name, engine, host, port, tls_mode, tls_ca_pem, maintenance_database, max_jobs, capacity_bytes, uri, auth,
             created_at, updated_at
         FROM servers ORDER BY name LIMIT $1 OFFSET $2",
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!("SELECT count(*) AS \"total!\" FROM servers").fetch_one(conn).await?;
    Ok((rows, total))
}

/// Writes the whole row but for its id, engine and creation: what a caller read under [`lock`] and changed.
pub async fn update(conn: &mut PgConnection, row: &ServerRow) -> Result<(), DbError> {
    let result = sqlx::query!(
        "UPDATE servers SET name = $2, host = $3, port = $4, tls_mode = $5, tls_ca_pem = $6, maintenance_database = $7,
                max_jobs = $8, capacity_bytes = $9, uri = $10, auth = $11, updated_at = clock_timestamp()
         WHERE id = $1",
        row.id.0,
        row.name.as_str(),
        row.host.as_str(),
        row.port,
        row.tls_mode.as_str(),
        row.tls_ca_pem,
        row.maintenance_database.as_str(),
        row.max_jobs,
        row.capacity_bytes,
        row.uri,
        row.auth.as_str()
    )
    .execute(conn)
    .await?;
    ensure_rows("servers", &result, 1)
}

/// The row, locked until the transaction ends, so that two changes at once do not undo each other.
pub async fn lock(conn: &mut PgConnection, id: ServerId) -> Result<Option<ServerRow>, DbError> {
    Ok(sqlx::query_as!(
        ServerRow,
        "SELECT id, name, engine, host, port, tls_mode, tls_ca_pem, maintenance_database, max_jobs, capacity_bytes, uri, auth,
             created_at, updated_at
         FROM servers WHERE id = $1 FOR UPDATE",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// A foreign key refuses it while targets or jobs refer to it.
pub async fn delete(conn: &mut PgConnection, id: ServerId) -> Result<(), DbError> {
    let result = sqlx::query!("DELETE FROM servers WHERE id = $1", id.0).execute(conn).await?;
    ensure_rows("servers", &result, 1)
}
