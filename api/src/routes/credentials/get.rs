//! `GET /v1/credentials/{id}`.

use axum::{Json, extract::State};
use shared::{db::credentials, id::CredentialId};

use super::Credential;
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
    Path(id): Path<CredentialId>,
) -> Result<Json<Credential>, ApiError> {
    authorize(&who, Permission::CredentialRead, None)?;
    let mut conn = state.pool.acquire().await?;
    let row = credentials::get(&mut conn, id).await?.ok_or(ApiError::NotFound("credential"))?;
    Ok(Json(row.into()))
}
