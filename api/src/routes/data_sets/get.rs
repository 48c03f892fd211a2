//! `GET /v1/data-sets/{id}`.

use axum::response::Response;
use shared::{db::data_sets, id::DatasetId};

use super::{WholeDataSet, whole};
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Shows a data set with what it holds.
#[utoipa::path(get, path = "/v1/data-sets/{id}", responses((status = 200, body = WholeDataSet)))]
pub async fn handle(call: Call, Path(id): Path<DatasetId>) -> Result<Response, ApiError> {
    call.authorize(Permission::DataSetRead, None)?;
    let mut conn = call.conn().await?;
    let row = data_sets::get(&mut conn, id).await?.ok_or(ApiError::NotFound("data_set"))?;
    call.show(&whole(&mut conn, row).await?)
}
