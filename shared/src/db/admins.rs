//! Admins and their roles.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, ensure_rows};
use crate::{
    admin::Role,
    id::{AdminId, ServiceId},
};

/// An admin. `password_hash` is a PHC string, never shown to anybody: `Debug` leaves it out.
#[derive(Clone)]
pub struct AdminRow {
    pub id: AdminId,
    pub name: String,
    pub password_hash: String,
    pub token_version: i32,
    pub disabled_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for AdminRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminRow").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// A role of an admin: global where `service_id` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleRow {
    pub role: Role,
    pub service_id: Option<ServiceId>,
}

/// Adds an admin. The constraint `admins_name_key` says that the name is taken.
pub async fn insert(conn: &mut PgConnection, id: AdminId, name: &str, password_hash: &str) -> Result<(), DbError> {
    sqlx::query!("INSERT INTO admins (id, name, password_hash) VALUES ($1, $2, $3)", id.0, name, password_hash)
        .execute(conn)
        .await?;
    Ok(())
}

/// The admin of that name, compared in lower case.
pub async fn by_name(conn: &mut PgConnection, name: &str) -> Result<Option<AdminRow>, DbError> {
    Ok(sqlx::query_as!(
        AdminRow,
        "SELECT id, name, password_hash, token_version, disabled_at FROM admins WHERE name = lower($1)",
        name
    )
    .fetch_optional(conn)
    .await?)
}

/// The admin's roles.
pub async fn roles(conn: &mut PgConnection, id: AdminId) -> Result<Vec<RoleRow>, DbError> {
    Ok(sqlx::query_as!(
        RoleRow,
        "SELECT role, service_id FROM admin_roles WHERE admin_id = $1 ORDER BY service_id NULLS FIRST",
        id.0
    )
    .fetch_all(conn)
    .await?)
}

/// Grants a role; a role that is there already is left as it is.
pub async fn grant(
    conn: &mut PgConnection,
    id: AdminId,
    role: Role,
    service_id: Option<ServiceId>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO admin_roles (admin_id, role, service_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        id.0,
        role as _,
        service_id as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Replaces the password hash, when its parameters are no longer the current ones.
pub async fn set_password_hash(conn: &mut PgConnection, id: AdminId, password_hash: &str) -> Result<(), DbError> {
    let result = sqlx::query!(
        "UPDATE admins SET password_hash = $2, updated_at = clock_timestamp() WHERE id = $1",
        id.0,
        password_hash
    )
    .execute(conn)
    .await?;
    ensure_rows("admins", &result, 1)
}
