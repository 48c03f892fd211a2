//! `GET /v1/targets`: a page of what the caller may see.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::targets,
    id::{ServerId, ServiceId},
};

use super::Target;
use crate::{
    call::Call,
    error::ApiError,
    page::Page,
    rbac::{Permission, visible},
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this service alone.
    service: Option<ServiceId>,
    /// On this server alone.
    server: Option<ServerId>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the targets that the caller may see, by name.
#[utoipa::path(get, path = "/v1/targets", params(Filter), responses((status = 200, body = [Target])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    let query = &call.query;
    let page = Page::new(query.page, query.limit)?;
    if let Some(service) = query.service {
        call.authorize(Permission::TargetRead, Some(service))?;
    }
    let only = query.service.map(|id| vec![id]).or_else(|| visible(&call.who));
    let mut conn = call.conn().await?;
    let (rows, total) = targets::list(&mut conn, only.as_deref(), query.server, page.limit(), page.offset()).await?;
    Ok(page.answer::<Target, _>(&call.uri, rows, total, true))
}
