//! `POST /v1/auth/logout`: ends the session; every token of it ends with it.

use axum::{Extension, extract::State, http::StatusCode};
use shared::db::sessions;

use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::ApiError,
    gate::Context,
    state::AppState,
};

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
) -> Result<StatusCode, ApiError> {
    let mut tx = state.pool.begin().await?;
    sessions::revoke(&mut tx, who.session_id).await?;
    let id = who.session_id.to_string();
    let change =
        Change { action: "auth.logout", resource: "session", id, service: None, detail: serde_json::Value::Null };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
