//! `GET /v1/jobs`: newest first, or `sort=created_at`.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::jobs::{self, JobFilter},
    id::{GroupId, ServiceId, TargetId},
    job::JobState,
};

use super::Job;
use crate::{
    call::Call,
    error::ApiError,
    page::{Page, Sort},
    rbac::{Permission, Seen},
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this service alone.
    service: Option<ServiceId>,
    /// Of this target alone.
    target: Option<TargetId>,
    /// Of this kind alone: `backup`, `restore`, `delete`, `verify`, …
    kind: Option<String>,
    /// In this state alone.
    state: Option<JobState>,
    /// Those that are followed together under this id.
    group: Option<GroupId>,
    /// `-created_at` unless said otherwise.
    sort: Option<Sort>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the jobs that the caller may see, newest first.
///
/// Totals are counted to 10,000; beyond, `X-Total-Count-Bound` says `lower`.
#[utoipa::path(get, path = "/v1/jobs", params(Filter), responses((status = 200, body = [Job])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    let query = &call.query;
    let page = Page::new(query.page, query.limit)?;
    if let Some(service) = query.service {
        call.authorize(Permission::JobRead, Some(service))?;
    }
    let seen = Seen::of(&call.who, query.service);
    let filter = JobFilter {
        service_ids: seen.other,
        service_id: seen.one,
        target_id: query.target,
        kind: query.kind.clone(),
        state: query.state,
        group_id: query.group,
        oldest_first: query.sort == Some(Sort::OldestFirst),
    };
    let (rows, total) = jobs::list(&mut *call.conn().await?, &filter, page.limit(), page.offset()).await?;
    Ok(page.answer::<Job, _>(&call.uri, rows, total.total, !total.is_lower_bound))
}
