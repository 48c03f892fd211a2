//! `POST /v1/data-set-restores/{id}/resume`.

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
pub struct ResumeDataSet {
    /// The data set's name.
    confirm: Slug,
}

/// Goes on with a restore that is partly swapped, or was undone: what is missing is swapped in.
///
/// Possible for as long as what is missing is kept. `?wait=30s` answers when it goes on no more or the time is up.
#[utoipa::path(
    post, path = "/v1/data-set-restores/{id}/resume",
    params(WaitQuery),
    request_body = ResumeDataSet,
    responses(
        (status = 202, body = DataSetRestore), (status = 409, description = "it is not partly swapped, or undone; or what is missing is not kept any more"),
    ),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<GroupId>,
    Json(body): Json<ResumeDataSet>,
) -> Result<Response, ApiError> {
    turn(call, id, &body.confirm, Way::Resume).await
}
