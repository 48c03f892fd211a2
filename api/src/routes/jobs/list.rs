//! `GET /v1/jobs`: newest first.

use axum::{extract::State, http::Uri, response::Response};
use serde::Deserialize;
use shared::{
    db::jobs::{self, JobFilter},
    id::{GroupId, ServiceId, TargetId},
    job::JobState,
};

use super::Job;
use crate::{
    auth::Identity,
    error::ApiError,
    extract::Query,
    page::Page,
    rbac::{Permission, authorize, visible},
    state::AppState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    service: Option<ServiceId>,
    target: Option<TargetId>,
    kind: Option<String>,
    state: Option<JobState>,
    group: Option<GroupId>,
    page: Option<u32>,
    limit: Option<u32>,
}

pub async fn handle(
    State(state): State<AppState>,
    who: Identity,
    uri: Uri,
    Query(query): Query<Filter>,
) -> Result<Response, ApiError> {
    let page = Page::new(query.page, query.limit)?;
    if let Some(service) = query.service {
        authorize(&who, Permission::JobRead, Some(service))?;
    }
    if query.kind.as_ref().is_some_and(|kind| kind.contains('\0')) {
        return Err(ApiError::field("?kind", "holds a NUL character"));
    }
    let filter = JobFilter {
        service_ids: query.service.map(|id| vec![id]).or_else(|| visible(&who)),
        target_id: query.target,
        kind: query.kind,
        state: query.state,
        group_id: query.group,
    };
    let mut conn = state.pool.acquire().await?;
    let (rows, total) = jobs::list(&mut conn, &filter, page.limit(), page.offset()).await?;
    let items: Vec<Job> = rows.into_iter().map(Into::into).collect();
    Ok(page.answer(&uri, &items, total.total, !total.is_lower_bound))
}
