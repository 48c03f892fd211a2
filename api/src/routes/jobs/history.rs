//! `GET /v1/jobs/{id}/history`: every change of its state and phase, oldest first.

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    db::jobs,
    id::JobId,
    job::{JobState, Problem},
};

use super::find;
use crate::{auth::Identity, error::ApiError, extract::Path, rbac::Permission, state::AppState};

#[derive(Debug, Serialize)]
pub struct Step {
    at: DateTime<Utc>,
    from_state: Option<JobState>,
    to_state: JobState,
    phase: Option<String>,
    attempt: i32,
    epoch: i64,
    worker: Option<String>,
    error: Option<Problem>,
}

pub async fn handle(
    State(state): State<AppState>,
    who: Identity,
    Path(id): Path<JobId>,
) -> Result<Json<Vec<Step>>, ApiError> {
    find(&state, &who, id, Permission::JobRead).await?;
    let mut conn = state.pool.acquire().await?;
    let steps = jobs::history(&mut conn, id).await?.into_iter().map(|row| Step {
        at: row.at,
        from_state: row.from_state,
        to_state: row.to_state,
        phase: row.phase,
        attempt: row.attempt,
        epoch: row.epoch,
        worker: row.worker,
        error: row.error.map(|error| error.0),
    });
    Ok(Json(steps.collect()))
}
