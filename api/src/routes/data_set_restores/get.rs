//! `GET /v1/data-set-restores/{id}?wait=30s`.

use axum::Json;
use shared::id::GroupId;

use super::{DataSetRestore, wait_for};
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission, routes::jobs::WaitQuery};

/// Shows a restore of a data set, and where each of its databases stands.
///
/// `?wait=30s` answers when it goes on no more or the time is up.
#[utoipa::path(get, path = "/v1/data-set-restores/{id}", params(WaitQuery), responses((status = 200, body = DataSetRestore)))]
pub async fn handle(call: Call<WaitQuery>, Path(id): Path<GroupId>) -> Result<Json<DataSetRestore>, ApiError> {
    call.authorize(Permission::DataSetRead, None)?;
    let wait = call.query.wait(&call.state)?;
    Ok(Json(wait_for(&call.state, id, wait).await?))
}
