//! `GET /v1/saves/report`: how each service stands, or each target.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    db::saves_report::{self, ReportRow},
    id::{SaveId, ServiceId, TargetId},
    name::Slug,
};

use crate::{
    call::Call,
    error::ApiError,
    page::Page,
    rbac::{Permission, visible},
};

/// What a line of the report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[schema(as = ReportBy)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A whole service; the default.
    Service,
    Target,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this service alone.
    service: Option<ServiceId>,
    /// A line for each service, unless said otherwise, or for each target.
    by: Option<By>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// How a service stands, or a target. The figures are of saves that are available.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ReportLine)]
pub struct Line {
    pub service_id: ServiceId,
    /// The service's name.
    pub service: Slug,
    /// Absent from the lines of services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_id: Option<TargetId>,
    /// The target's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Slug>,
    /// The newest save; null: there is none.
    pub latest: Option<Latest>,
    pub saved: i64,
    pub valid: i64,
    pub invalid: i64,
    /// Of the saved ones those that wait to be accepted.
    pub suspicious: i64,
    /// Backups that never became available; not among the saved.
    pub failed: i64,
    /// Bytes of one copy of each.
    pub stored_bytes: i64,
}

/// The newest save that is available.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = LatestSave)]
pub struct Latest {
    pub save_id: SaveId,
    /// Among the saves of its target.
    pub version: i32,
    pub available_at: DateTime<Utc>,
}

impl From<ReportRow> for Line {
    fn from(row: ReportRow) -> Self {
        let latest = row.latest_save_id.zip(row.latest_version).zip(row.latest_at);
        Self {
            service_id: row.service_id,
            service: row.service,
            target_id: row.target_id,
            target: row.target,
            latest: latest.map(|((save_id, version), available_at)| Latest { save_id, version, available_at }),
            saved: row.saved,
            valid: row.valid,
            invalid: row.invalid,
            suspicious: row.suspicious,
            failed: row.failed,
            stored_bytes: row.stored_bytes,
        }
    }
}

/// Reports how each service stands, or each target.
///
/// The latest save, and how many are kept, valid, invalid and suspicious, in how many bytes.
#[utoipa::path(get, path = "/v1/saves/report", params(Filter), responses((status = 200, body = [Line])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    let query = &call.query;
    let page = Page::new(query.page, query.limit)?;
    if let Some(service) = query.service {
        call.authorize(Permission::SaveRead, Some(service))?;
    }
    let only = query.service.map(|id| vec![id]).or_else(|| visible(&call.who));
    let mut conn = call.conn().await?;
    let (rows, total) = match query.by.unwrap_or(By::Service) {
        By::Service => saves_report::by_service(&mut conn, only.as_deref(), page.limit(), page.offset()).await?,
        By::Target => saves_report::by_target(&mut conn, only.as_deref(), page.limit(), page.offset()).await?,
    };
    Ok(page.answer::<Line, _>(&call.uri, rows, total, true))
}
