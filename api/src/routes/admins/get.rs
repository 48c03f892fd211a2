//! `GET /v1/admins/{id}`.

use axum::response::Response;
use shared::id::AdminId;

use super::{Admin, seen};
use crate::{call::Call, error::ApiError, extract::Path};

/// Shows an admin. Oneself anybody may see.
#[utoipa::path(get, path = "/v1/admins/{id}", responses((status = 200, body = Admin)))]
pub async fn handle(call: Call, Path(id): Path<AdminId>) -> Result<Response, ApiError> {
    let found = seen(&call, &mut *call.conn().await?, id).await?;
    call.show(&Admin::from(found))
}
