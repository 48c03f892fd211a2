//! Reading the audit log: pages of it, and all of it a piece at a time.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{Counted, DbError, audit::Outcome};
use crate::id::{AdminId, ServiceId};

/// An entry as it was written.
#[derive(Debug, Clone)]
pub struct AuditRow {
    /// In the order of writing.
    pub id: i64,
    pub at: DateTime<Utc>,
    pub admin_id: Option<AdminId>,
    pub admin_name: Option<String>,
    pub action: String,
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    pub service_id: Option<ServiceId>,
    pub outcome: Outcome,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub detail: Json<serde_json::Value>,
}

/// Which entries are wanted. `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// The services whose entries the caller may see.
    pub service_ids: Option<Vec<ServiceId>>,
    pub service_id: Option<ServiceId>,
    pub admin_id: Option<AdminId>,
    pub action: Option<String>,
    pub resource_type: Option<String>,
    pub resource_id: Option<String>,
    pub outcome: Option<Outcome>,
    pub from: Option<DateTime<Utc>>,
    /// Entries before this.
    pub to: Option<DateTime<Utc>>,
    /// Oldest first; else newest first.
    pub oldest_first: bool,
}

/// The statement of [`list`], for whoever looks at its plans.
pub const PAGE: &str = include_str!("sql/audit_page.sql");

/// A page of entries, and how many there are (counted to 10,000).
pub async fn list(
    conn: &mut PgConnection,
    filter: &AuditFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<AuditRow>, Counted), DbError> {
    let (ids, total) = page(conn, filter, None, limit, offset, Counted::BOUND + 1).await?;
    Ok((by_ids(conn, &ids).await?, Counted::of(total)))
}

/// The next entries after one id and up to another, oldest first.
pub async fn after(
    conn: &mut PgConnection,
    filter: &AuditFilter,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<AuditRow>, DbError> {
    let filter = AuditFilter { oldest_first: true, ..filter.clone() };
    let (ids, _) = page(conn, &filter, Some((after, until)), limit, 0, 0).await?;
    by_ids(conn, &ids).await
}

/// The id of the newest entry; 0: there is none.
pub async fn newest(conn: &mut PgConnection) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!("SELECT coalesce(max(id), 0) AS \"id!\" FROM audit").fetch_one(conn).await?)
}

async fn page(
    conn: &mut PgConnection,
    filter: &AuditFilter,
    between: Option<(i64, i64)>,
    limit: i64,
    offset: i64,
    bound: i64,
) -> Result<(Vec<i64>, i64), DbError> {
    // Not checked by the macros, which keep a statement prepared: PostgreSQL would come to one plan for all filters.
    Ok(sqlx::query_as(PAGE)
        .bind(filter.service_ids.as_deref())
        .bind(filter.service_id)
        .bind(filter.admin_id)
        .bind(filter.action.as_deref())
        .bind(filter.resource_type.as_deref())
        .bind(filter.resource_id.as_deref())
        .bind(filter.outcome)
        .bind(filter.from)
        .bind(filter.to)
        .bind(between.map(|ids| ids.0))
        .bind(between.map(|ids| ids.1))
        .bind(limit)
        .bind(offset)
        .bind(filter.oldest_first)
        .bind(bound)
        .persistent(false)
        .fetch_one(conn)
        .await?)
}

async fn by_ids(conn: &mut PgConnection, ids: &[i64]) -> Result<Vec<AuditRow>, DbError> {
    Ok(sqlx::query_as!(
        AuditRow,
        r#"SELECT a.id, a.at, a.admin_id, a.admin_name, a.action, a.resource_type, a.resource_id, a.service_id, a.outcome,
             a.address, a.request_id, a.detail AS "detail: Json<serde_json::Value>"
         FROM unnest((SELECT $1::bigint[])) WITH ORDINALITY AS wanted (id, place) JOIN audit a ON a.id = wanted.id ORDER BY wanted.place"#,
        ids
    )
    .fetch_all(conn)
    .await?)
}
