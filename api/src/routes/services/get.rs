//! `GET /v1/services/{id}`.

use axum::response::Response;
use shared::{db::services, id::ServiceId};

use super::Service;
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Shows a service.
#[utoipa::path(get, path = "/v1/services/{id}", responses((status = 200, body = Service)))]
pub async fn handle(call: Call, Path(id): Path<ServiceId>) -> Result<Response, ApiError> {
    call.authorize(Permission::ServiceRead, Some(id))?;
    let row = services::get(&mut *call.conn().await?, id).await?.ok_or(ApiError::NotFound("service"))?;
    call.show(&Service::from(row))
}
