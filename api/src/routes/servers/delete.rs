//! `DELETE /v1/servers/{id}`: refused with 409 while something refers to it.

use axum::http::StatusCode;
use shared::{
    db::{schedules::Covered, servers},
    id::ServerId,
};

use super::Server;
use crate::{
    audit::{Change, removed},
    call::Call,
    error::{ApiError, in_use},
    extract::Path,
    rbac::Permission,
    routes::schedules::refuse_covered,
};

/// Deletes a server that nothing refers to.
#[utoipa::path(
    delete, path = "/v1/servers/{id}",
    responses((status = 204), (status = 409, description = "something still refers to it, or a schedule covers it")),
)]
pub async fn handle(call: Call, Path(id): Path<ServerId>) -> Result<StatusCode, ApiError> {
    let permission = Permission::ServerDelete;
    call.authorize(permission, None)?;
    let mut tx = call.begin().await?;
    let row = servers::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("server"))?;
    call.check_match(&Server::from(row.clone()))?;
    refuse_covered(&mut tx, Covered::Server(id)).await?;
    in_use(servers::delete(&mut tx, id).await, "server")?;
    call.commit(tx, Change::new(permission, id, None, removed(&Server::from(row)))).await?;
    Ok(StatusCode::NO_CONTENT)
}
