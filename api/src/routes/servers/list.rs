//! `GET /v1/servers`: a page of what the caller may see.

use axum::{extract::State, http::Uri, response::Response};
use serde::Deserialize;
use shared::db::servers;

use super::Server;
use crate::{
    auth::Identity,
    error::ApiError,
    extract::Query,
    page::Page,
    rbac::{Permission, authorize},
    state::AppState,
};

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
    authorize(&who, Permission::ServerRead, None)?;
    let mut conn = state.pool.acquire().await?;
    let (rows, total) = servers::list(&mut conn, page.limit(), page.offset()).await?;
    let items: Vec<Server> = rows.into_iter().map(Into::into).collect();
    Ok(page.answer(&uri, &items, total, true))
}
