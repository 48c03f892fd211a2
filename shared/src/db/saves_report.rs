//! The save report: how each service, or each target, stands. Totals come from `save_counts`, the newest save from an
//! index, so that it takes as long for a million saves as for a thousand.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::DbError;
use crate::{
    id::{SaveId, ServiceId, TargetId},
    name::Slug,
};

/// How a service stands, or a target. All figures are of saves that are available, unless it says otherwise.
#[derive(Debug, Clone)]
pub struct ReportRow {
    pub service_id: ServiceId,
    pub service: Slug,
    /// None: of the whole service.
    pub target_id: Option<TargetId>,
    pub target: Option<Slug>,
    /// The newest save.
    pub latest_save_id: Option<SaveId>,
    pub latest_version: Option<i32>,
    pub latest_at: Option<DateTime<Utc>>,
    pub saved: i64,
    pub valid: i64,
    pub invalid: i64,
    pub suspicious: i64,
    /// Backups that never became available.
    pub failed: i64,
    /// What is stored of them, in bytes, as the saves say: of one copy each.
    pub stored_bytes: i64,
}

/// A page of services by name, and how many there are. `visible` limits it to those services.
pub async fn by_service(
    conn: &mut PgConnection,
    visible: Option<&[ServiceId]>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<ReportRow>, i64), DbError> {
    let rows = sqlx::query_file_as!(ReportRow, "src/db/sql/saves_report_by_service.sql", visible as _, limit, offset)
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

/// A page of targets by their service's name and their own, and how many there are.
pub async fn by_target(
    conn: &mut PgConnection,
    visible: Option<&[ServiceId]>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<ReportRow>, i64), DbError> {
    let rows = sqlx::query_file_as!(ReportRow, "src/db/sql/saves_report_by_target.sql", visible as _, limit, offset)
        .fetch_all(&mut *conn)
        .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM targets WHERE $1::uuid[] IS NULL OR service_id = ANY ($1)",
        visible as _
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}
