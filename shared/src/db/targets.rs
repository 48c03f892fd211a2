//! Targets: one database of a service that can be backed up.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{DbError, ensure_rows};
use crate::{
    drift::Drift,
    id::{CredentialId, ServerId, ServiceId, TargetId},
    name::{DatabaseName, Slug},
    server::MongoMode,
};

#[derive(Debug, Clone)]
pub struct TargetRow {
    pub id: TargetId,
    pub service_id: ServiceId,
    pub server_id: ServerId,
    pub name: Slug,
    pub database: DatabaseName,
    pub backup_credential_id: CredentialId,
    pub restore_credential_id: Option<CredentialId>,
    /// Names of stores, 1 to 8, without twins.
    pub stores: Vec<String>,
    /// How many copies must be good for a save to be available.
    pub required_copies: i32,
    pub worker_group: Slug,
    pub deadline_s: Option<i32>,
    pub stall_s: Option<i32>,
    /// What dumps and restores it, if it is of `MongoDB`.
    pub mongo_mode: MongoMode,
    /// When a save of it is suspicious; none: as usual.
    pub drift: Option<Json<Drift>>,
    /// What a wipe leaves alone: patterns of [`crate::wipe::KeepPattern`].
    pub wipe_keep: Vec<String>,
    pub last_version: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

pub async fn insert(conn: &mut PgConnection, row: &TargetRow) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO targets (id, service_id, server_id, name, database, backup_credential_id, restore_credential_id,
                              stores, required_copies, worker_group, deadline_s, stall_s, mongo_mode, drift, wipe_keep)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        row.id.0,
        row.service_id.0,
        row.server_id.0,
        row.name.as_str(),
        row.database.as_str(),
        row.backup_credential_id.0,
        row.restore_credential_id as _,
        &row.stores,
        row.required_copies,
        row.worker_group.as_str(),
        row.deadline_s,
        row.stall_s,
        row.mongo_mode.as_str(),
        row.drift.as_ref() as _,
        &row.wipe_keep
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub async fn get(conn: &mut PgConnection, id: TargetId) -> Result<Option<TargetRow>, DbError> {
    Ok(sqlx::query_as!(
        TargetRow,
        "SELECT id, service_id, server_id, name, database, backup_credential_id, restore_credential_id, stores, required_copies,
             worker_group, deadline_s, stall_s, mongo_mode, drift, wipe_keep, last_version, created_at, updated_at
         FROM targets WHERE id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// The row, locked until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: TargetId) -> Result<Option<TargetRow>, DbError> {
    Ok(sqlx::query_as!(
        TargetRow,
        "SELECT id, service_id, server_id, name, database, backup_credential_id, restore_credential_id, stores, required_copies,
             worker_group, deadline_s, stall_s, mongo_mode, drift, wipe_keep, last_version, created_at, updated_at
         FROM targets WHERE id = $1 FOR UPDATE",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// By service and name; `visible` limits it to those services. Answers the page and the whole count.
pub async fn list(
    conn: &mut PgConnection,
    visible: Option<&[ServiceId]>,
    server_id: Option<ServerId>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<TargetRow>, i64), DbError> {
    let rows = sqlx::query_as!(
        TargetRow,
        "SELECT id, service_id, server_id, name, database, backup_credential_id, restore_credential_id, stores, required_copies,
             worker_group, deadline_s, stall_s, mongo_mode, drift, wipe_keep, last_version, created_at, updated_at
         FROM targets
         WHERE ($1::uuid[] IS NULL OR service_id = ANY ($1)) AND ($2::uuid IS NULL OR server_id = $2)
         ORDER BY service_id, name LIMIT $3 OFFSET $4",
        visible as _,
        server_id as _,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM targets
         WHERE ($1::uuid[] IS NULL OR service_id = ANY ($1)) AND ($2::uuid IS NULL OR server_id = $2)",
        visible as _,
        server_id as _
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// Writes the whole row but for its id, service, versions and creation: what a caller read under [`lock`] and changed.
pub async fn update(conn: &mut PgConnection, row: &TargetRow) -> Result<(), DbError> {
    let result = sqlx::query!(
        "UPDATE targets SET server_id = $2, name = $3, database = $4, backup_credential_id = $5, restore_credential_id = $6,
                stores = $7, required_copies = $8, worker_group = $9, deadline_s = $10, stall_s = $11, mongo_mode = $12,
                drift = $13, wipe_keep = $14, updated_at = clock_timestamp()
         WHERE id = $1",
        row.id.0,
        row.server_id.0,
        row.name.as_str(),
        row.database.as_str(),
        row.backup_credential_id.0,
        row.restore_credential_id as _,
        &row.stores,
        row.required_copies,
        row.worker_group.as_str(),
        row.deadline_s,
        row.stall_s,
        row.mongo_mode.as_str(),
        row.drift.as_ref() as _,
        &row.wipe_keep
    )
    .execute(conn)
    .await?;
    ensure_rows("targets", &result, 1)
}

/// A foreign key refuses it while jobs or saves refer to it.
pub async fn delete(conn: &mut PgConnection, id: TargetId) -> Result<(), DbError> {
    let result = sqlx::query!("DELETE FROM targets WHERE id = $1", id.0).execute(conn).await?;
    ensure_rows("targets", &result, 1)
}
