//! `GET /v1/services`: a page of what the caller may see.

use axum::{extract::State, http::Uri, response::Response};
use serde::Deserialize;
use shared::db::services;

use super::Service;
use crate::{auth::Identity, error::ApiError, extract::Query, page::Page, rbac::visible, state::AppState};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
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
    let mut conn = state.pool.acquire().await?;
    let (rows, total) = services::list(&mut conn, visible(&who).as_deref(), page.limit(), page.offset()).await?;
    let items: Vec<Service> = rows.into_iter().map(Into::into).collect();
    Ok(page.answer(&uri, &items, total, true))
}
