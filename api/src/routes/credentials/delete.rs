//! `DELETE /v1/credentials/{id}`: refused with 409 while something refers to it.

use axum::{Extension, extract::State, http::StatusCode};
use shared::{db::credentials, id::CredentialId};

use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::{ApiError, in_use},
    extract::Path,
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<CredentialId>,
) -> Result<StatusCode, ApiError> {
    authorize(&who, Permission::CredentialDelete, None)?;
    let mut tx = state.pool.begin().await?;
    if credentials::get(&mut tx, id).await?.is_none() {
        return Err(ApiError::NotFound("credential"));
    }
    in_use(credentials::delete(&mut tx, id).await, "credential")?;
    let change = Change {
        action: Permission::CredentialDelete.name(),
        resource: "credential",
        id: id.to_string(),
        service: None,
        detail: serde_json::Value::Null,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
