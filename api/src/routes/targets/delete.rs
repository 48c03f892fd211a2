//! `DELETE /v1/targets/{id}`: refused with 409 while something refers to it.

use axum::{Extension, extract::State, http::StatusCode};
use shared::{db::targets, id::TargetId};

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
    Path(id): Path<TargetId>,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.pool.begin().await?;
    let row = targets::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    authorize(&who, Permission::TargetDelete, Some(row.service_id))?;
    in_use(targets::delete(&mut tx, id).await, "target")?;
    let change = Change {
        action: Permission::TargetDelete.name(),
        resource: "target",
        id: id.to_string(),
        service: Some(row.service_id),
        detail: serde_json::json!({ "name": row.name }),
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
