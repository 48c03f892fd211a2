//! Admins and their roles.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, ensure_rows};
use crate::{
    admin::{AdminName, Role},
    id::{AdminId, ServiceId},
};

/// An admin who logs in. `password_hash` is a PHC string, never shown to anybody: `Debug` leaves it out.
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

/// An admin as others see one.
#[derive(Debug, Clone)]
pub struct AdminInfo {
    pub id: AdminId,
    pub name: String,
    pub disabled_at: Option<DateTime<Utc>>,
    /// Jobs a day; 0: as many as they like; none: what the configuration says.
    pub jobs_per_day: Option<i32>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// A role of an admin: global where `service_id` is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleRow {
    pub role: Role,
    pub service_id: Option<ServiceId>,
}

/// A role with who gave it, and when.
#[derive(Debug, Clone)]
pub struct GrantRow {
    pub admin_id: AdminId,
    pub role: Role,
    pub service_id: Option<ServiceId>,
    /// Nobody: by the command line, or by an admin who is no more.
    pub granted_by: Option<AdminId>,
    pub granted_at: DateTime<Utc>,
}

/// Adds an admin. The constraint `admins_name_key` says that the name is taken.
pub async fn insert(
    conn: &mut PgConnection,
    id: AdminId,
    name: &AdminName,
    password_hash: &str,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO admins (id, name, password_hash) VALUES ($1, $2, $3)",
        id.0,
        name.as_str(),
        password_hash
    )
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

/// The admin, with what a password is checked against.
pub async fn by_id(conn: &mut PgConnection, id: AdminId) -> Result<Option<AdminRow>, DbError> {
    Ok(sqlx::query_as!(
        AdminRow,
        "SELECT id, name, password_hash, token_version, disabled_at FROM admins WHERE id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// Whether the admin is still as a login found them: neither disabled, nor with another password. Holds it so until the
/// transaction ends; whoever changes it then sees the session that is opened here, and ends it.
pub async fn is_still(conn: &mut PgConnection, id: AdminId, token_version: i32) -> Result<bool, DbError> {
    let found = sqlx::query_scalar!(
        "SELECT id FROM admins WHERE id = $1 AND token_version = $2 AND disabled_at IS NULL FOR NO KEY UPDATE",
        id.0,
        token_version
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// The admin.
pub async fn get(conn: &mut PgConnection, id: AdminId) -> Result<Option<AdminInfo>, DbError> {
    Ok(sqlx::query_as!(
        AdminInfo,
        "SELECT id, name, disabled_at, jobs_per_day, created_at, updated_at FROM admins WHERE id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// By name; `of` limits it to those who have a role for one of these services. Answers the page and the whole count.
pub async fn list(
    conn: &mut PgConnection,
    of: Option<&[ServiceId]>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<AdminInfo>, i64), DbError> {
    let rows = sqlx::query_as!(
        AdminInfo,
        "SELECT id, name, disabled_at, jobs_per_day, created_at, updated_at FROM admins a
         WHERE $1::uuid[] IS NULL OR EXISTS (SELECT FROM admin_roles r WHERE r.admin_id = a.id AND r.service_id = ANY ($1))
         ORDER BY name LIMIT $2 OFFSET $3",
        of as _,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM admins a
         WHERE $1::uuid[] IS NULL OR EXISTS (SELECT FROM admin_roles r WHERE r.admin_id = a.id AND r.service_id = ANY ($1))",
        of as _
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
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

/// The roles of several admins, the global ones first.
pub async fn grants(conn: &mut PgConnection, ids: &[AdminId]) -> Result<Vec<GrantRow>, DbError> {
    Ok(sqlx::query_as!(
        GrantRow,
        "SELECT admin_id, role, service_id, granted_by, granted_at FROM admin_roles
         WHERE admin_id = ANY ($1) ORDER BY service_id NULLS FIRST, role",
        ids as _
    )
    .fetch_all(conn)
    .await?)
}

/// Grants a role; one that is there already is left as it is. Answers whether it is new.
pub async fn grant(
    conn: &mut PgConnection,
    id: AdminId,
    role: Role,
    service_id: Option<ServiceId>,
    by: Option<AdminId>,
) -> Result<bool, DbError> {
    let granted = sqlx::query!(
        "INSERT INTO admin_roles (admin_id, role, service_id, granted_by) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        id.0,
        role as _,
        service_id as _,
        by as _
    )
    .execute(conn)
    .await?;
    Ok(granted.rows_affected() > 0)
}

/// Takes a role away. Answers whether it was there.
pub async fn revoke(
    conn: &mut PgConnection,
    id: AdminId,
    role: Role,
    service_id: Option<ServiceId>,
) -> Result<bool, DbError> {
    let revoked = sqlx::query!(
        "DELETE FROM admin_roles WHERE admin_id = $1 AND role = $2 AND service_id IS NOT DISTINCT FROM $3",
        id.0,
        role as _,
        service_id as _
    )
    .execute(conn)
    .await?;
    Ok(revoked.rows_affected() > 0)
}

/// Changes what is given. Whoever becomes disabled gets a new token version, so that no token outlives it. `jobs_per_day`
/// is given even where it is none: the configuration then says.
pub async fn update(
    conn: &mut PgConnection,
    id: AdminId,
    name: Option<&AdminName>,
    disabled: Option<bool>,
    jobs_per_day: Option<Option<i32>>,
) -> Result<(), DbError> {
    let result = sqlx::query!(
        "UPDATE admins SET name = coalesce($2, name),
           token_version = token_version + CASE WHEN $3 AND disabled_at IS NULL THEN 1 ELSE 0 END,
           disabled_at = CASE WHEN $3 THEN coalesce(disabled_at, clock_timestamp()) WHEN NOT $3 THEN NULL ELSE disabled_at END,
           jobs_per_day = CASE WHEN $4 THEN $5 ELSE jobs_per_day END,
           updated_at = clock_timestamp()
         WHERE id = $1",
        id.0,
        name.map(AdminName::as_str),
        disabled,
        jobs_per_day.is_some(),
        jobs_per_day.flatten()
    )
    .execute(conn)
    .await?;
    ensure_rows("admins", &result, 1)
}

/// Sets a new password, and a new token version: what was issued under the old password ends. A login that checked the old
/// one at this very moment gets a token of the old version.
pub async fn set_password(conn: &mut PgConnection, id: AdminId, password_hash: &str) -> Result<(), DbError> {
    let result = sqlx::query!(
        "UPDATE admins SET password_hash = $2, token_version = token_version + 1, updated_at = clock_timestamp() WHERE id = $1",
        id.0,
        password_hash
    )
    .execute(conn)
    .await?;
    ensure_rows("admins", &result, 1)
}

/// Replaces the hash of the same password, when its parameters are no longer the current ones. Nothing happens if the
/// password was changed meanwhile: the old one must not come back.
pub async fn rehash(conn: &mut PgConnection, id: AdminId, old: &str, new: &str) -> Result<(), DbError> {
    sqlx::query!("UPDATE admins SET password_hash = $3 WHERE id = $1 AND password_hash = $2", id.0, old, new)
        .execute(conn)
        .await?;
    Ok(())
}

/// Deletes an admin with roles and sessions. Jobs and audit entries stay.
pub async fn delete(conn: &mut PgConnection, id: AdminId) -> Result<(), DbError> {
    let result = sqlx::query!("DELETE FROM admins WHERE id = $1", id.0).execute(conn).await?;
    ensure_rows("admins", &result, 1)
}

/// Serialises what may take the last super away, until the transaction ends: two at once would each count the other.
pub async fn lock_supers(conn: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended('holdfast supers', 7))").execute(conn).await?;
    Ok(())
}

/// How many supers can log in.
pub async fn supers(conn: &mut PgConnection) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT count(*) AS \"supers!\" FROM admins a
         WHERE disabled_at IS NULL AND EXISTS (SELECT FROM admin_roles r WHERE r.admin_id = a.id AND r.role = 'super')"
    )
    .fetch_one(conn)
    .await?)
}
