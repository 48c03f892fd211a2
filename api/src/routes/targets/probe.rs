//! `POST /v1/targets/{id}/probe`: can it be reached, how large is it, what can the role not read? A job.

use axum::response::Response;
use serde_json::json;
use shared::{db::targets, enqueue, id::TargetId};

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::Permission,
    routes::jobs::{Job, WaitQuery, accepted, refused},
};

/// Looks whether a target can be reached.
///
/// How large it is, and what its role cannot read, is the result of a job. `?wait=30s` answers when it has ended or the time is up.
#[utoipa::path(post, path = "/v1/targets/{id}/probe", params(WaitQuery), responses((status = 202, body = Job)))]
pub async fn handle(call: Call<WaitQuery>, Path(id): Path<TargetId>) -> Result<Response, ApiError> {
    let permission = Permission::TargetProbe;
    let wait = call.query.wait(&call.state)?;
    let mut tx = call.begin().await?;
    let target = targets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    call.authorize(permission, Some(target.service_id))?;
    let job = enqueue::probe(&mut tx, id, &call.asked(None)).await.map_err(refused)?;
    call.commit(tx, Change::new(permission, id, Some(target.service_id), json!({ "job_id": job }))).await?;
    accepted(&call.state, job, wait).await
}
