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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    service: Option<ServiceId>,
    admin: Option<AdminId>,
    action: Option<String>,
    resource: Option<String>,
    resource_id: Option<String>,
    outcome: Option<Outcome>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
    sort: Option<Sort>,
    page: Option<u32>,
    limit: Option<u32>,
}

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
