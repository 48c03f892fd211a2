//! `DELETE /v1/saves/{id}`: nobody can read it from now on, and a job takes its bytes away. Repeating it is fine: the job
//! that works on it is answered, or a new one where the last has failed; 204 once it is done.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use shared::{
    db::saves,
    enqueue::{self, Deletion},
    id::SaveId,
};

use super::get::whole;
use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::Permission,
    routes::jobs::{Job, WaitQuery, accepted, refused},
};

/// Deletes a save.
///
/// From the answer on nobody can read it, and a job takes its bytes away. Repeating it is fine: the job that works on it is
/// answered, or a new one where the last has failed.
#[utoipa::path(
    delete, path = "/v1/saves/{id}",
    params(WaitQuery),
    responses((status = 202, body = Job), (status = 204, description = "it is deleted"), (status = 409, description = "it is pinned, in use, or still made")),
)]
pub async fn handle(call: Call<WaitQuery>, Path(id): Path<SaveId>) -> Result<Response, ApiError> {
    let permission = Permission::SaveDelete;
    let wait = call.query.wait(&call.state)?;
    let mut tx = call.begin().await?;
    let save = saves::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(save.service_id))?;
    if call.is_conditional() {
        call.check_match(&whole(&mut tx, save.clone()).await?)?;
    }
    let deletion = enqueue::delete(&mut tx, id, &call.asked(None)).await.map_err(refused)?;
    let (job, detail) = match deletion {
        Deletion::Enqueued(job) => (Some(job), json!({ "job_id": job, "version": save.version })),
        Deletion::Underway(job) => (Some(job), json!({ "job_id": job, "repeated": true })),
        Deletion::Done => (None, json!({ "repeated": true })),
    };
    call.commit(tx, Change::new(permission, id, Some(save.service_id), detail)).await?;
    match job {
        Some(job) => accepted(&call.state, job, wait).await,
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
