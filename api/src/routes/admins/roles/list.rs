//! `GET /v1/admins/{id}/roles`.

use axum::Json;
use shared::id::AdminId;

use crate::{
    call::Call,
    error::ApiError,
    extract::Path,
    routes::admins::{Granted, seen},
};

/// Lists the roles of an admin that the caller may see.
#[utoipa::path(get, path = "/v1/admins/{id}/roles", responses((status = 200, body = [Granted])))]
pub async fn handle(call: Call, Path(id): Path<AdminId>) -> Result<Json<Vec<Granted>>, ApiError> {
    let (_, grants) = seen(&call, &mut *call.conn().await?, id).await?;
    Ok(Json(grants.into_iter().map(Granted::from).collect()))
}
