//! `GET /v1/jobs/{id}?wait=30s`: answers when the job has ended or the time is up.

use axum::Json;
use shared::id::JobId;

use super::{Job, WaitQuery, find, wait_for};
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Shows a job.
///
/// `?wait=30s` answers when the job has ended or the time is up.
#[utoipa::path(get, path = "/v1/jobs/{id}", params(WaitQuery), responses((status = 200, body = Job)))]
pub async fn handle(call: Call<WaitQuery>, Path(id): Path<JobId>) -> Result<Json<Job>, ApiError> {
    let wait = call.query.wait(&call.state)?;
    let row = find(&call, id, Permission::JobRead).await?;
    let row = if wait.is_zero() || row.state.is_terminal() { row } else { wait_for(&call.state, id, wait).await? };
    Ok(Json(row.into()))
}
