//! `GET /v1/schedules`: a page of what the caller may see.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::schedules,
    id::{ServerId, ServiceId, TargetId},
    schedule::Covers,
};

use super::Schedule;
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
    /// Those that cover this target and nothing else.
    target: Option<TargetId>,
    /// Those that cover this server.
    server: Option<ServerId>,
    /// Those that cover such a thing.
    covers: Option<Covers>,
    /// Those that are paused, or those that are not.
    paused: Option<bool>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the schedules that the caller may see, by name.
#[utoipa::path(get, path = "/v1/schedules", params(Filter), responses((status = 200, body = [Schedule])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    let query = &call.query;
    let page = Page::new(query.page, query.limit)?;
    if let Some(service) = query.service {
        call.authorize(Permission::ScheduleRead, Some(service))?;
    }
    let services = query.service.map(|id| vec![id]).or_else(|| visible(&call.who));
    let filter = schedules::Filter {
        services: services.as_deref(),
        target: query.target,
        server: query.server,
        covers: query.covers,
        paused: query.paused,
    };
    let (rows, total) = schedules::list(&mut *call.conn().await?, &filter, page.limit(), page.offset()).await?;
    Ok(page.answer::<Schedule, _>(&call.uri, rows, total, true))
}
