//! `GET /v1/jobs/{id}/history`: every change of its state and phase, oldest first.

use axum::Json;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    db::jobs,
    id::JobId,
    job::{JobState, Problem},
};

use super::find;
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// A change of a job's state or phase.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Step {
    at: DateTime<Utc>,
    /// None: it was created.
    from_state: Option<JobState>,
    to_state: JobState,
    /// What it does in its state: `dump`, `committing`, …
    phase: Option<String>,
    attempt: i32,
    /// The fencing number of the attempt.
    epoch: i64,
    worker: Option<String>,
    error: Option<Problem>,
}

/// Lists every change of a job's state and phase, oldest first.
#[utoipa::path(get, path = "/v1/jobs/{id}/history", responses((status = 200, body = [Step])))]
pub async fn handle(call: Call, Path(id): Path<JobId>) -> Result<Json<Vec<Step>>, ApiError> {
    find(&call, id, Permission::JobRead).await?;
    let mut conn = call.conn().await?;
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
