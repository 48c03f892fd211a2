//! `GET /v1/credentials/{id}`.

use axum::response::Response;
use shared::{db::credentials, id::CredentialId};

use super::Credential;
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Shows a credential, without its password.
#[utoipa::path(get, path = "/v1/credentials/{id}", responses((status = 200, body = Credential)))]
pub async fn handle(call: Call, Path(id): Path<CredentialId>) -> Result<Response, ApiError> {
    call.authorize(Permission::CredentialRead, None)?;
    let row = credentials::get(&mut *call.conn().await?, id).await?.ok_or(ApiError::NotFound("credential"))?;
    call.show(&Credential::from(row))
}
