//! `DELETE /v1/tokens/{id}`: ends a token at once, one's own or, for a super, anybody's. Its row stays for a while, as ended.

use axum::http::StatusCode;
use serde_json::json;
use shared::{db::api_tokens, id::ApiTokenId};

use super::reachable;
use crate::{audit::Change, call::Call, error::ApiError, extract::Path};

/// Ends an API token at once: one's own, for a super anybody's.
#[utoipa::path(delete, path = "/v1/tokens/{id}", responses((status = 204, description = "the token is over")))]
pub async fn handle(call: Call, Path(id): Path<ApiTokenId>) -> Result<StatusCode, ApiError> {
    let mut tx = call.begin().await?;
    let row = reachable(&call, &mut tx, id).await?;
    let ended = api_tokens::revoke(&mut tx, id).await?;
    let change = Change {
        action: "token.revoke",
        resource: "token",
        id: id.to_string(),
        service: row.service_id,
        detail: json!({ "name": row.name, "admin_id": row.admin_id, "was_live": ended }),
    };
    call.commit(tx, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
