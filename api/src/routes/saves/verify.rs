//! `POST /v1/saves/{id}/verify`: reads the copies again, whole. A job.

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
/// A verification that is wanted.
#[schema(example = json!({ "stores": [], "repair": true }))]
#[serde(deny_unknown_fields)]
pub struct CreateVerify {
    /// The copies in these stores alone; empty: all of them.
    #[serde(default)]
    stores: Vec<Slug>,
    /// Make broken copies again from a good one; yes, unless said otherwise.
    repair: Option<bool>,
    /// The higher the sooner; 5 unless said otherwise.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<i16>,
}

/// Reads the copies of a save again, whole.
///
/// What each is, is the result of a job; broken ones are made again from a good one unless that is refused.
#[utoipa::path(
    post, path = "/v1/saves/{id}/verify",
    params(WaitQuery),
    request_body = CreateVerify,
    responses((status = 202, body = Job), (status = 409, description = "the save is not there to be read")),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<SaveId>,
    Json(body): Json<CreateVerify>,
) -> Result<Response, ApiError> {
    let permission = Permission::SaveVerify;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    let mut tx = call.begin().await?;
    let save = saves::get(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(save.service_id))?;
    let job = enqueue::verify(&mut tx, id, body.stores, body.repair.unwrap_or(true), &call.asked(body.priority))
        .await
        .map_err(refused)?;
    call.commit(tx, Change::new(permission, id, Some(save.service_id), json!({ "job_id": job }))).await?;
    accepted(&call.state, job, wait).await
}
