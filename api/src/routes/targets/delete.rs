//! `DELETE /v1/targets/{id}`: refused with 409 while something refers to it.

use axum::http::StatusCode;
use shared::{
    db::{schedules::Covered, targets},
    id::TargetId,
};

use super::Target;
use crate::{
    audit::{Change, removed},
    call::Call,
    error::{ApiError, in_use},
    extract::Path,
    rbac::Permission,
    routes::schedules::refuse_covered,
};

/// Deletes a target that nothing refers to.
#[utoipa::path(
    delete, path = "/v1/targets/{id}",
    responses((status = 204), (status = 409, description = "something still refers to it, or a schedule covers it")),
)]
pub async fn handle(call: Call, Path(id): Path<TargetId>) -> Result<StatusCode, ApiError> {
    let permission = Permission::TargetDelete;
    let mut tx = call.begin().await?;
    let row = targets::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    call.authorize(permission, Some(row.service_id))?;
    call.check_match(&Target::from(row.clone()))?;
    refuse_covered(&mut tx, Covered::Target(id)).await?;
    in_use(targets::delete(&mut tx, id).await, "target")?;
    let (service, detail) = (row.service_id, removed(&Target::from(row)));
    call.commit(tx, Change::new(permission, id, Some(service), detail)).await?;
    Ok(StatusCode::NO_CONTENT)
}
