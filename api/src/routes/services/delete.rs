//! `DELETE /v1/services/{id}`: refused with 409 while something refers to it.

use axum::http::StatusCode;
use shared::{
    db::{schedules::Covered, services},
    id::ServiceId,
};

use super::Service;
use crate::{
    audit::{Change, removed},
    call::Call,
    error::{ApiError, in_use},
    extract::Path,
    rbac::Permission,
    routes::schedules::refuse_covered,
};

/// Deletes a service that nothing refers to.
#[utoipa::path(
    delete, path = "/v1/services/{id}",
    responses((status = 204), (status = 409, description = "something still refers to it, or a schedule covers it")),
)]
pub async fn handle(call: Call, Path(id): Path<ServiceId>) -> Result<StatusCode, ApiError> {
    let permission = Permission::ServiceDelete;
    call.authorize(permission, Some(id))?;
    let mut tx = call.begin().await?;
    let row = services::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?;
    call.check_match(&Service::from(row.clone()))?;
    refuse_covered(&mut tx, Covered::Service(id)).await?;
    in_use(services::delete(&mut tx, id).await, "service")?;
    call.commit(tx, Change::new(permission, id, Some(id), removed(&Service::from(row)))).await?;
    Ok(StatusCode::NO_CONTENT)
}
