//! `GET /v1/services`: a page of what the caller may see.

use axum::response::Response;
use shared::db::services;

use super::Service;
use crate::{call::Call, error::ApiError, page::PageQuery, rbac::visible};

/// Lists the services that the caller may see, by name.
#[utoipa::path(get, path = "/v1/services", params(PageQuery), responses((status = 200, body = [Service])))]
pub async fn handle(call: Call<PageQuery>) -> Result<Response, ApiError> {
    let page = call.query.page()?;
    let visible = visible(&call.who);
    let mut conn = call.conn().await?;
    let (rows, total) = services::list(&mut conn, visible.as_deref(), page.limit(), page.offset()).await?;
    Ok(page.answer::<Service, _>(&call.uri, rows, total, true))
}
