//! `GET /v1/targets`: a page of what the caller may see.

use axum::{extract::State, http::Uri, response::Response};
use serde::Deserialize;
use shared::{
    db::targets,
    id::{ServerId, ServiceId},
};

use super::Target;
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
    server: Option<ServerId>,
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
        authorize(&who, Permission::TargetRead, Some(service))?;
    }
    let only = query.service.map(|id| vec![id]).or_else(|| visible(&who));
    let mut conn = state.pool.acquire().await?;
    let (rows, total) = targets::list(&mut conn, only.as_deref(), query.server, page.limit(), page.offset()).await?;
    let items: Vec<Target> = rows.into_iter().map(Into::into).collect();
    Ok(page.answer(&uri, &items, total, true))
}
