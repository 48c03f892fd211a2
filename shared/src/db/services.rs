//! Services.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, ensure_rows};
use crate::{id::ServiceId, name::Slug};

#[derive(Debug, Clone)]
pub struct ServiceRow {
    pub id: ServiceId,
    pub name: Slug,
    pub description: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

pub async fn insert(conn: &mut PgConnection, id: ServiceId, name: &Slug, description: &str) -> Result<(), DbError> {
    sqlx::query!("INSERT INTO services (id, name, description) VALUES ($1, $2, $3)", id.0, name.as_str(), description)
        .execute(conn)
        .await?;
    Ok(())
}

pub async fn get(conn: &mut PgConnection, id: ServiceId) -> Result<Option<ServiceRow>, DbError> {
    Ok(sqlx::query_as!(
        ServiceRow,
        "SELECT id, name, description, created_at, updated_at FROM services WHERE id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// The row, locked until the transaction ends, so that two changes at once do not undo each other.
pub async fn lock(conn: &mut PgConnection, id: ServiceId) -> Result<Option<ServiceRow>, DbError> {
    Ok(sqlx::query_as!(
        ServiceRow,
        "SELECT id, name, description, created_at, updated_at FROM services WHERE id = $1 FOR UPDATE",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// By name; `visible` limits it to those services. Answers the page and the whole count.
pub async fn list(
    conn: &mut PgConnection,
    visible: Option<&[ServiceId]>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<ServiceRow>, i64), DbError> {
    let rows = sqlx::query_as!(
        ServiceRow,
        "SELECT id, name, description, created_at, updated_at FROM services
         WHERE $1::uuid[] IS NULL OR id = ANY ($1) ORDER BY name LIMIT $2 OFFSET $3",
        visible as _,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM services WHERE $1::uuid[] IS NULL OR id = ANY ($1)",
        visible as _
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// Changes what is given and keeps the rest.
pub async fn update(
    conn: &mut PgConnection,
    id: ServiceId,
    name: Option<&Slug>,
    description: Option<&str>,
) -> Result<(), DbError> {
    let result = sqlx::query!(
        "UPDATE services SET name = coalesce($2, name), description = coalesce($3, description), updated_at = clock_timestamp()
         WHERE id = $1",
        id.0,
        name.map(Slug::as_str),
        description
    )
    .execute(conn)
    .await?;
    ensure_rows("services", &result, 1)
}

/// A foreign key refuses it while targets, jobs or saves refer to it.
pub async fn delete(conn: &mut PgConnection, id: ServiceId) -> Result<(), DbError> {
    let result = sqlx::query!("DELETE FROM services WHERE id = $1", id.0).execute(conn).await?;
    ensure_rows("services", &result, 1)
}
