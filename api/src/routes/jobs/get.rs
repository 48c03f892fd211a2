//! `GET /v1/jobs/{id}?wait=30s`: answers when the job has ended or the time is up.

use axum::{Json, extract::State};
use shared::id::JobId;

use super::{Job, WaitQuery, find, wait_for};
use crate::{
    auth::Identity,
    error::ApiError,
    extract::{Path, Query},
    rbac::Permission,
    state::AppState,
};

pub async fn handle(
    State(state): State<AppState>,
    who: Identity,
    Path(id): Path<JobId>,
    Query(query): Query<WaitQuery>,
) -> Result<Json<Job>, ApiError> {
    let wait = query.wait(&state)?;
    let row = find(&state, &who, id, Permission::JobRead).await?;
    let row = if wait.is_zero() || row.state.is_terminal() { row } else { wait_for(&state, id, wait).await? };
    Ok(Json(row.into()))
}
