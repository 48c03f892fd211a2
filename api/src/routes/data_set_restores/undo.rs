//! `POST /v1/data-set-restores/{id}/undo`.

use axum::response::Response;
use serde::Deserialize;
use shared::{id::GroupId, name::Slug};

use super::{DataSetRestore, Way, turn};
use crate::{
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    routes::jobs::WaitQuery,
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// Says that it is meant.
#[schema(example = json!({ "confirm": "friday-demo" }))]
#[serde(deny_unknown_fields)]
pub struct UndoDataSet {
    /// The data set's name.
    confirm: Slug,
}

/// Swaps back what a restore has swapped in, the last first.
///
/// Possible for as long as what made way is kept. `?wait=30s` answers when it goes on no more or the time is up.
#[utoipa::path(
    post, path = "/v1/data-set-restores/{id}/undo",
    params(WaitQuery),
    request_body = UndoDataSet,
    responses(
        (status = 202, body = DataSetRestore), (status = 409, description = "it is not partly swapped, or has succeeded; or what made way is not kept any more"),
    ),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<GroupId>,
    Json(body): Json<UndoDataSet>,
) -> Result<Response, ApiError> {
    turn(call, id, &body.confirm, Way::Undo).await
}
