//! `GET /v1/servers`: a page of them.

use axum::response::Response;
use shared::db::servers;

use super::Server;
use crate::{call::Call, error::ApiError, page::PageQuery, rbac::Permission};

/// Lists servers, by name.
#[utoipa::path(get, path = "/v1/servers", params(PageQuery), responses((status = 200, body = [Server])))]
pub async fn handle(call: Call<PageQuery>) -> Result<Response, ApiError> {
    call.authorize(Permission::ServerRead, None)?;
    let page = call.query.page()?;
    let (rows, total) = servers::list(&mut *call.conn().await?, page.limit(), page.offset()).await?;
    Ok(page.answer::<Server, _>(&call.uri, rows, total, true))
}
