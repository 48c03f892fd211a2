//! `POST /v1/saves/{id}/accept`: a save that looked suspicious counts like any other from now on.

use axum::Json;
use serde_json::json;
use shared::{
    db::{saves, saves_update},
    id::SaveId,
    save::SaveState,
};

use super::Save;
use crate::{audit::Change, call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Accepts a save that looked suspicious: it counts like any other from now on.
#[utoipa::path(
    post, path = "/v1/saves/{id}/accept",
    responses((status = 200, body = Save), (status = 409, description = "it is not available, or not suspicious")),
)]
pub async fn handle(call: Call, Path(id): Path<SaveId>) -> Result<Json<Save>, ApiError> {
    let permission = Permission::SaveAccept;
    let mut tx = call.begin().await?;
    let mut row = saves::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(row.service_id))?;
    if row.state != SaveState::Available {
        return Err(ApiError::Conflict(format!("the save is {}: only an available one can be accepted", row.state)));
    }
    if !row.suspicious {
        return Err(ApiError::Conflict("the save is not suspicious".into()));
    }
    saves_update::accept(&mut tx, &row, call.asked(None).trace_id).await?;
    row.suspicious = false;
    let detail = json!({ "version": row.version, "before": { "suspicious": true }, "after": { "suspicious": false } });
    call.commit(tx, Change::new(permission, id, Some(row.service_id), detail)).await?;
    Ok(Json(row.into()))
}
