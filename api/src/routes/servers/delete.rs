//! `DELETE /v1/servers/{id}`: refused with 409 while something refers to it.

use axum::{Extension, extract::State, http::StatusCode};
use shared::{db::servers, id::ServerId};

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
    Path(id): Path<ServerId>,
) -> Result<StatusCode, ApiError> {
    authorize(&who, Permission::ServerDelete, None)?;
    let mut tx = state.pool.begin().await?;
    if servers::get(&mut tx, id).await?.is_none() {
        return Err(ApiError::NotFound("server"));
    }
    in_use(servers::delete(&mut tx, id).await, "server")?;
    let change = Change {
        action: Permission::ServerDelete.name(),
        resource: "server",
        id: id.to_string(),
        service: None,
        detail: serde_json::Value::Null,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
