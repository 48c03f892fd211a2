//! `POST /v1/jobs/{id}/cancel`: a queued job at once, a running one as soon as its worker hears it. Repeating it is fine.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use shared::{
    db::{
        finish,
        jobs::{self, CancelOutcome},
    },
    id::JobId,
    job::JobState,
};

use super::{Job, find};
use crate::{audit::Change, call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Cancels a job.
///
/// A queued one at once (200), a running one as soon as its worker hears it (202). Repeating it is fine.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel",
    responses((status = 200, body = Job, description = "it is cancelled"), (status = 202, body = Job, description = "its worker was asked"), (status = 409, description = "it has ended otherwise, or has passed its point of no return")),
)]
pub async fn handle(call: Call, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    let permission = Permission::JobCancel;
    let seen = find(&call, id, permission).await?;
    let mut tx = call.begin().await?;
    let by = Some(call.who.admin_id);
    let outcome = jobs::request_cancel(&mut tx, id, by).await?.ok_or(ApiError::NotFound("job"))?;
    let status = match outcome {
        CancelOutcome::Cancelled => {
            finish::after_terminal(&mut tx, id).await?;
            StatusCode::OK
        }
        CancelOutcome::Terminal(JobState::Cancelled) => StatusCode::OK,
        CancelOutcome::Requested => StatusCode::ACCEPTED,
        CancelOutcome::TooLate => return Err(ApiError::Conflict("the job has passed its point of no return".into())),
        CancelOutcome::Terminal(state) => {
            return Err(ApiError::Conflict(format!("the job has ended already: {}", state.as_str())));
        }
    };
    let row = jobs::get(&mut tx, id).await?.ok_or(ApiError::NotFound("job"))?;
    call.commit(tx, Change::new(permission, id, seen.service_id, json!({ "state": row.state }))).await?;
    Ok((status, Json(Job::from(row))).into_response())
}
