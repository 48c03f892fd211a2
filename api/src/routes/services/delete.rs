//! `DELETE /v1/services/{id}`: refused with 409 while something refers to it.

use axum::{Extension, extract::State, http::StatusCode};
use shared::{db::services, id::ServiceId};

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
    Path(id): Path<ServiceId>,
) -> Result<StatusCode, ApiError> {
    authorize(&who, Permission::ServiceDelete, Some(id))?;
    let mut tx = state.pool.begin().await?;
    if services::get(&mut tx, id).await?.is_none() {
        return Err(ApiError::NotFound("service"));
    }
    in_use(services::delete(&mut tx, id).await, "service")?;
    let change = Change {
        action: Permission::ServiceDelete.name(),
        resource: "service",
        id: id.to_string(),
        service: Some(id),
        detail: serde_json::Value::Null,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
