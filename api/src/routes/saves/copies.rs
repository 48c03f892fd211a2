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
    routes::jobs::{WaitQuery, accepted, check_priority, refused},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateCopy {
    store: Slug,
    priority: Option<i16>,
}

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
