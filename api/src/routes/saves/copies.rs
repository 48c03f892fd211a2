//! `POST /v1/saves/{id}/copies`: makes a copy that is missing or corrupt again, from a good one. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{db::saves, enqueue, id::SaveId, name::Slug};

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::jobs::{Job, WaitQuery, accepted, check_priority, refused},
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A copy that is to be made again.
#[schema(example = json!({ "store": "main" }))]
#[serde(deny_unknown_fields)]
pub struct CreateCopy {
    /// Where the copy is broken.
    store: Slug,
    /// The higher the sooner; 5 unless said otherwise.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<i16>,
}

/// Makes a copy that is missing or corrupt again, from a good one.
///
/// A job: `?wait=30s` answers when it has ended or the time is up.
#[utoipa::path(
    post, path = "/v1/saves/{id}/copies",
    params(WaitQuery),
    request_body = CreateCopy,
    responses((status = 202, body = Job), (status = 409, description = "the copy is not broken, or no other is good")),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<SaveId>,
    Json(body): Json<CreateCopy>,
) -> Result<Response, ApiError> {
    let permission = Permission::SaveCopy;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    let mut tx = call.begin().await?;
    let save = saves::get(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(save.service_id))?;
    let store = body.store.clone();
    let job = enqueue::copy(&mut tx, id, body.store, &call.asked(body.priority)).await.map_err(refused)?;
    let detail = json!({ "job_id": job, "store": store });
    call.commit(tx, Change::new(permission, id, Some(save.service_id), detail)).await?;
    accepted(&call.state, job, wait).await
}
