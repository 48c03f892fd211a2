//! `POST /v1/auth/logout-everywhere`: ends every session of the caller, this one too. API tokens stay: they are ended one
//! by one.

use axum::http::StatusCode;
use serde_json::json;
use shared::db::sessions;

use crate::{audit::Change, call::Call, error::ApiError};

/// Ends every session of the caller, this one too.
///
/// API tokens stay: they are ended one by one.
#[utoipa::path(
    post, path = "/v1/auth/logout-everywhere",
    responses((status = 204, description = "every session is over")),
)]
pub async fn handle(call: Call) -> Result<StatusCode, ApiError> {
    call.person()?;
    let mut tx = call.begin().await?;
    let ended = sessions::revoke_all(&mut tx, call.who.admin_id).await?;
    // No permission: it is their own.
    let change = Change {
        action: "auth.logout_everywhere",
        resource: "admin",
        id: call.who.admin_id.to_string(),
        service: None,
        detail: json!({ "sessions": ended }),
    };
    call.commit(tx, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
