//! `POST /v1/auth/logout`: ends the session; every access and refresh token of it ends with it.

use axum::http::StatusCode;
use shared::db::sessions;

use crate::{audit::Change, call::Call, error::ApiError};

/// Ends the session.
///
/// Every token of it ends with it, at once.
#[utoipa::path(post, path = "/v1/auth/logout", responses((status = 204, description = "the session is over")))]
pub async fn handle(call: Call) -> Result<StatusCode, ApiError> {
    let id = call.person()?;
    let mut tx = call.begin().await?;
    sessions::revoke(&mut tx, id).await?;
    // No permission: whoever has a session may end it.
    let change = Change {
        action: "auth.logout",
        resource: "session",
        id: id.to_string(),
        service: None,
        detail: serde_json::Value::Null,
    };
    call.commit(tx, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
