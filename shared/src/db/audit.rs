//! The audit log: who did what, from where, with what result. Rows are added and read, never changed.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::DbError;
use crate::id::{AdminId, ServiceId};

/// One entry. `detail` never holds a secret.
#[derive(Debug, Clone, Default)]
pub struct Entry<'a> {
    pub admin_id: Option<AdminId>,
    pub admin_name: Option<&'a str>,
    /// What was done, as the permission is named: `target.create`, `auth.login`.
    pub action: &'a str,
    pub resource_type: Option<&'a str>,
    pub resource_id: Option<String>,
    pub service_id: Option<ServiceId>,
    /// `allowed`, `denied` or `failed`.
    pub outcome: Outcome,
    pub address: Option<&'a str>,
    pub request_id: Option<&'a str>,
    pub detail: serde_json::Value,
}

/// What became of what was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = AuditOutcome))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was permitted and done.
    #[default]
    Allowed,
    /// It was refused: no permission, no valid token, too many attempts.
    Denied,
    /// It was permitted and could not be done.
    Failed,
}

/// Adds an entry, in the transaction of what it tells about.
pub async fn insert(conn: &mut PgConnection, entry: &Entry<'_>) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO audit (admin_id, admin_name, action, resource_type, resource_id, service_id, outcome, address, request_id, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, coalesce($10::jsonb, '{}'))",
        entry.admin_id as _,
        entry.admin_name,
        entry.action,
        entry.resource_type,
        entry.resource_id,
        entry.service_id as _,
        entry.outcome as _,
        entry.address,
        entry.request_id,
        (!entry.detail.is_null()).then_some(&entry.detail) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}
