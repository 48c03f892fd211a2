//! `DELETE /v1/credentials/{id}`: refused with 409 while something refers to it.

use axum::http::StatusCode;
use shared::{
    db::{credentials, schedules::Covered},
    id::CredentialId,
};

use super::Credential;
use crate::{
    audit::{Change, removed},
    call::Call,
    error::{ApiError, in_use},
    extract::Path,
    rbac::Permission,
    routes::schedules::refuse_covered,
};

/// Deletes a credential that nothing refers to.
#[utoipa::path(
    delete, path = "/v1/credentials/{id}",
    responses((status = 204), (status = 409, description = "something still refers to it")),
)]
pub async fn handle(call: Call, Path(id): Path<CredentialId>) -> Result<StatusCode, ApiError> {
    let permission = Permission::CredentialDelete;
    call.authorize(permission, None)?;
    let mut tx = call.begin().await?;
    let row = credentials::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("credential"))?;
    call.check_match(&Credential::from(row.clone()))?;
    refuse_covered(&mut tx, Covered::Credential(id)).await?;
    in_use(credentials::delete(&mut tx, id).await, "credential")?;
    call.commit(tx, Change::new(permission, id, None, removed(&Credential::from(row)))).await?;
    Ok(StatusCode::NO_CONTENT)
}
