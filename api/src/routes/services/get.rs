//! `GET /v1/services/{id}`.

use axum::{Json, extract::State};
use shared::{db::services, id::ServiceId};

use super::Service;
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
    Path(id): Path<ServiceId>,
) -> Result<Json<Service>, ApiError> {
    authorize(&who, Permission::ServiceRead, Some(id))?;
    let mut conn = state.pool.acquire().await?;
    let row = services::get(&mut conn, id).await?.ok_or(ApiError::NotFound("service"))?;
    Ok(Json(row.into()))
}
