//! `DELETE /v1/data-sets/{id}`. Its saves stay, and are retention's again.

use axum::http::StatusCode;
use shared::{
    db::{data_set_restores, data_sets},
    id::DatasetId,
};

use super::{DataSet, whole};
use crate::{
    audit::{Change, removed},
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::Permission,
};

/// Deletes a data set.
///
/// Its saves stay, and are from then on deleted as any other. Refused while it is restored, or half way.
#[utoipa::path(
    delete, path = "/v1/data-sets/{id}",
    responses((status = 204), (status = 409, description = "it is being restored, or is partly swapped")),
)]
pub async fn handle(call: Call, Path(id): Path<DatasetId>) -> Result<StatusCode, ApiError> {
    let permission = Permission::DataSetDelete;
    call.authorize(permission, None)?;
    let mut tx = call.begin().await?;
    let row = data_sets::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("data_set"))?;
    call.check_match(&whole(&mut tx, row.clone()).await?)?;
    if let Some(group) = data_set_restores::under_way(&mut tx, id).await? {
        return Err(ApiError::Conflict(format!(
            "it is being restored, or half way: see /v1/data-set-restores/{group} to its end first"
        )));
    }
    data_sets::delete(&mut tx, id).await?;
    call.commit(tx, Change::new(permission, id, None, removed(&DataSet::from(row)))).await?;
    Ok(StatusCode::NO_CONTENT)
}
