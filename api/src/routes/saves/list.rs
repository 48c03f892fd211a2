//! `GET /v1/saves`: newest first.

use axum::{extract::State, http::Uri, response::Response};
use serde::Deserialize;
use shared::{
    db::saves::{self, SaveFilter},
    id::{ServiceId, TargetId},
    save::SaveState,
};

use super::Save;
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
    state: Option<SaveState>,
    valid: Option<bool>,
    /// `-created_at`, the one order of this version.
    sort: Option<String>,
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
    if query.sort.as_deref().is_some_and(|sort| sort != "-created_at") {
        return Err(ApiError::field("?sort", "must be -created_at (newest first)"));
    }
    if let Some(service) = query.service {
        authorize(&who, Permission::SaveRead, Some(service))?;
    }
    let filter = SaveFilter {
        service_ids: visible(&who),
        service_id: query.service,
        target_id: query.target,
        state: query.state,
        valid: query.valid,
    };
    let mut conn = state.pool.acquire().await?;
    let (rows, total) = saves::list(&mut conn, &filter, page.limit(), page.offset()).await?;
    let items: Vec<Save> = rows.into_iter().map(Into::into).collect();
    Ok(page.answer(&uri, &items, total.total, !total.is_lower_bound))
}
