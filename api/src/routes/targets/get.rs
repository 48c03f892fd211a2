//! `GET /v1/targets/{id}`.

use axum::response::Response;
use shared::{db::targets, id::TargetId};

use super::Target;
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Shows a target.
#[utoipa::path(get, path = "/v1/targets/{id}", responses((status = 200, body = Target)))]
pub async fn handle(call: Call, Path(id): Path<TargetId>) -> Result<Response, ApiError> {
    let row = targets::get(&mut *call.conn().await?, id).await?.ok_or(ApiError::NotFound("target"))?;
    call.authorize(Permission::TargetRead, Some(row.service_id))?;
    call.show(&Target::from(row))
}
