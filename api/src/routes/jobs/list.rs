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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    service: Option<ServiceId>,
    target: Option<TargetId>,
    kind: Option<String>,
    state: Option<JobState>,
    group: Option<GroupId>,
    sort: Option<Sort>,
    page: Option<u32>,
    limit: Option<u32>,
}

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
