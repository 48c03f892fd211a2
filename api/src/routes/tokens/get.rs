//! `GET /v1/tokens/{id}`: one's own, for a super anybody's.

use axum::Json;
use shared::id::ApiTokenId;

use super::{ApiToken, reachable};
use crate::{call::Call, error::ApiError, extract::Path};

/// Shows an API token: one's own, for a super anybody's.
#[utoipa::path(get, path = "/v1/tokens/{id}", responses((status = 200, body = ApiToken)))]
pub async fn handle(call: Call, Path(id): Path<ApiTokenId>) -> Result<Json<ApiToken>, ApiError> {
    let row = reachable(&call, &mut *call.conn().await?, id).await?;
    Ok(Json(row.into()))
}
