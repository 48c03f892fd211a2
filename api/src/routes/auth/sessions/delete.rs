//! `DELETE /v1/auth/sessions/{id}`: ends one of the caller's own sessions; a super ends anybody's.

use axum::http::StatusCode;
use serde_json::json;
use shared::{db::sessions, id::SessionId};

use crate::{audit::Change, call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Ends one of the caller's own sessions; a super ends anybody's.
#[utoipa::path(
    delete, path = "/v1/auth/sessions/{id}",
    responses((status = 204, description = "the session is over")),
)]
pub async fn handle(call: Call, Path(id): Path<SessionId>) -> Result<StatusCode, ApiError> {
    call.person()?;
    let mut tx = call.begin().await?;
    let owner = sessions::live(&mut tx, id).await?.map(|session| session.admin_id);
    // Of others' sessions nobody but a super learns that they are there.
    if owner != Some(call.who.admin_id) && call.authorize(Permission::SessionManage, None).is_err() {
        return Err(ApiError::NotFound("session"));
    }
    let owner = owner.ok_or(ApiError::NotFound("session"))?;
    if !sessions::revoke_own(&mut tx, owner, id).await? {
        return Err(ApiError::NotFound("session"));
    }
    let change = Change {
        action: "auth.session_end",
        resource: "session",
        id: id.to_string(),
        service: None,
        detail: json!({ "admin_id": owner }),
    };
    call.commit(tx, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
