//! API tokens: what programs call the API with. Of the token itself only the SHA-256 is kept.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, refresh::Hash};
use crate::{
    admin::Role,
    id::{AdminId, ApiTokenId, ServiceId},
    name::Slug,
};

/// A token without what it is presented as.
#[derive(Debug, Clone)]
pub struct ApiTokenRow {
    pub id: ApiTokenId,
    pub name: Slug,
    pub admin_id: AdminId,
    pub admin_name: String,
    pub role: Role,
    pub service_id: Option<ServiceId>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A token that is accepted now: neither revoked nor over, its owner not disabled.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub id: ApiTokenId,
    pub name: Slug,
    pub admin_id: AdminId,
    pub admin_name: String,
    /// The owner's jobs a day; none: what the configuration says.
    pub jobs_per_day: Option<i32>,
    pub role: Role,
    pub service_id: Option<ServiceId>,
    /// Whether its use was not noted within the last minute.
    pub is_stale: bool,
}

/// A token to be.
#[derive(Debug)]
pub struct NewApiToken<'a> {
    pub id: ApiTokenId,
    pub hash: &'a Hash,
    pub admin_id: AdminId,
    pub name: &'a Slug,
    pub role: Role,
    pub service_id: Option<ServiceId>,
    /// How long it lives from now, in days.
    pub days: i32,
}

/// Adds a token. The constraint `api_tokens_name` says that the owner has a live one of that name,
/// `api_tokens_service_id_fkey` that there is no such service.
pub async fn insert(conn: &mut PgConnection, new: &NewApiToken<'_>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO api_tokens (id, hash, admin_id, name, role, service_id, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(days => $7))",
        new.id.0,
        &new.hash[..],
        new.admin_id.0,
        new.name.as_str(),
        new.role as _,
        new.service_id as _,
        new.days
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The token with this hash, if it is accepted.
pub async fn accepted(conn: &mut PgConnection, hash: &Hash) -> Result<Option<Accepted>, DbError> {
    Ok(sqlx::query_as!(
        Accepted,
        r#"SELECT t.id, t.name, t.admin_id, a.name AS admin_name, a.jobs_per_day, t.role, t.service_id,
             coalesce(t.last_used_at < clock_timestamp() - interval '1 minute', true) AS "is_stale!"
         FROM api_tokens t JOIN admins a ON a.id = t.admin_id
         WHERE t.hash = $1 AND t.revoked_at IS NULL AND t.expires_at > clock_timestamp() AND a.disabled_at IS NULL"#,
        &hash[..]
    )
    .fetch_optional(conn)
    .await?)
}

/// Notes that a token was used, unless that was done within the last minute.
pub async fn used(conn: &mut PgConnection, id: ApiTokenId) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE api_tokens SET last_used_at = clock_timestamp()
         WHERE id = $1 AND coalesce(last_used_at < clock_timestamp() - interval '1 minute', true)",
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One token, whoever owns it.
pub async fn get(conn: &mut PgConnection, id: ApiTokenId) -> Result<Option<ApiTokenRow>, DbError> {
    Ok(sqlx::query_as!(
        ApiTokenRow,
        "SELECT t.id, t.name, t.admin_id, a.name AS admin_name, t.role, t.service_id, t.created_at, t.expires_at,
             t.last_used_at, t.revoked_at
         FROM api_tokens t JOIN admins a ON a.id = t.admin_id WHERE t.id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// Newest first, ended ones too; `owner` limits it to one admin's. Answers the page and the whole count.
pub async fn list(
    conn: &mut PgConnection,
    owner: Option<AdminId>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<ApiTokenRow>, i64), DbError> {
    let rows = sqlx::query_as!(
        ApiTokenRow,
        "SELECT t.id, t.name, t.admin_id, a.name AS admin_name, t.role, t.service_id, t.created_at, t.expires_at,
             t.last_used_at, t.revoked_at
         FROM api_tokens t JOIN admins a ON a.id = t.admin_id
         WHERE $1::uuid IS NULL OR t.admin_id = $1 ORDER BY t.id DESC LIMIT $2 OFFSET $3",
        owner as _,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM api_tokens WHERE $1::uuid IS NULL OR admin_id = $1",
        owner as _
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// Ends a token at once; `false`: it had been revoked before.
pub async fn revoke(conn: &mut PgConnection, id: ApiTokenId) -> Result<bool, DbError> {
    let ended =
        sqlx::query!("UPDATE api_tokens SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL", id.0)
            .execute(conn)
            .await?;
    Ok(ended.rows_affected() == 1)
}
