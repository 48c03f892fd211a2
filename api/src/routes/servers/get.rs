//! `GET /v1/servers/{id}`.

use axum::response::Response;
use shared::{db::servers, id::ServerId};

use super::Server;
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Shows a server.
#[utoipa::path(get, path = "/v1/servers/{id}", responses((status = 200, body = Server)))]
pub async fn handle(call: Call, Path(id): Path<ServerId>) -> Result<Response, ApiError> {
    call.authorize(Permission::ServerRead, None)?;
    let row = servers::get(&mut *call.conn().await?, id).await?.ok_or(ApiError::NotFound("server"))?;
    call.show(&Server::from(row))
}
