//! `GET /v1/servers/{id}`.

use axum::{Json, extract::State};
use shared::{db::servers, id::ServerId};

use super::Server;
use crate::{
    auth::Identity,
    error::ApiError,
    extract::Path,
    rbac::{Permission, authorize},
    state::AppState,
};

pub async fn handle(
    State(state): State<AppState>,
    who: Identity,
    Path(id): Path<ServerId>,
) -> Result<Json<Server>, ApiError> {
    authorize(&who, Permission::ServerRead, None)?;
    let mut conn = state.pool.acquire().await?;
    let row = servers::get(&mut conn, id).await?.ok_or(ApiError::NotFound("server"))?;
    Ok(Json(row.into()))
}
