//! `GET /v1/targets/{id}`.

use axum::{Json, extract::State};
use shared::{db::targets, id::TargetId};

use super::Target;
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
    Path(id): Path<TargetId>,
) -> Result<Json<Target>, ApiError> {
    let mut conn = state.pool.acquire().await?;
    let row = targets::get(&mut conn, id).await?.ok_or(ApiError::NotFound("target"))?;
    authorize(&who, Permission::TargetRead, Some(row.service_id))?;
    Ok(Json(row.into()))
}
