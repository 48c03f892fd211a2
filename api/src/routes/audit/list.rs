//! `GET /v1/audit`: newest first, or `sort=created_at`.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::{
    db::{audit::Outcome, audit_log},
    id::{AdminId, ServiceId},
};

use super::{Entry, Wanted};
use crate::{
    call::Call,
    error::ApiError,
    page::{Page, Sort},
    rbac::Permission,
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this service alone.
    service: Option<ServiceId>,
    /// By this admin alone.
    admin: Option<AdminId>,
    /// As permissions are named: `target.create`.
    action: Option<String>,
    /// The kind of thing: `target`, `save`, `session`.
    resource: Option<String>,
    /// Its id.
    resource_id: Option<String>,
    /// What became of it.
    outcome: Option<Outcome>,
    /// From then on.
    from: Option<DateTime<Utc>>,
    /// Before then.
    to: Option<DateTime<Utc>>,
    /// `-created_at` unless said otherwise.
    sort: Option<Sort>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists entries of the audit log, newest first.
///
/// Totals are counted to 10,000; beyond, `X-Total-Count-Bound` says `lower`.
#[utoipa::path(get, path = "/v1/audit", params(Filter), responses((status = 200, body = [Entry])))]
pub async fn handle(mut call: Call<Filter>) -> Result<Response, ApiError> {
    let query = &mut call.query;
    let (page, sort) = (Page::new(query.page, query.limit)?, query.sort);
    let wanted = Wanted {
        service: query.service,
        admin: query.admin,
        action: query.action.take(),
        resource: query.resource.take(),
        resource_id: query.resource_id.take(),
        outcome: query.outcome,
        from: query.from,
        to: query.to,
    };
    let filter = wanted.of(&call, Permission::AuditRead, sort)?;
    let (rows, total) = audit_log::list(&mut *call.conn().await?, &filter, page.limit(), page.offset()).await?;
    Ok(page.answer::<Entry, _>(&call.uri, rows, total.total, !total.is_lower_bound))
}
