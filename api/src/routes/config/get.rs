//! `GET /v1/config`: every setting of this process with where its value came from, and no secret.

use axum::Json;
use serde_json::Value;

use crate::{call::Call, error::ApiError, rbac::Permission};

/// Shows every setting of this process, with where its value came from, and no secret.
#[utoipa::path(get, path = "/v1/config", responses((status = 200, body = Object)))]
pub async fn handle(call: Call) -> Result<Json<Value>, ApiError> {
    call.authorize(Permission::ConfigRead, None)?;
    Ok(Json(call.state.effective.as_ref().clone()))
}
