//! `POST /v1/jobs/{id}/cancel`: a queued job at once, a running one as soon as its worker hears it. Repeating it is fine.

use axum::{
    Extension, Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use shared::{
    db::{
        finish,
        jobs::{self, CancelOutcome},
    },
    id::JobId,
    job::JobState,
};

use super::{Job, find};
use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::ApiError,
    extract::Path,
    gate::Context,
    rbac::Permission,
    state::AppState,
};

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<JobId>,
) -> Result<Response, ApiError> {
    let permission = Permission::JobCancel;
    let seen = find(&state, &who, id, permission).await?;
    let mut tx = state.pool.begin().await?;
    let outcome = jobs::request_cancel(&mut tx, id, Some(who.admin_id)).await?.ok_or(ApiError::NotFound("job"))?;
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
    let (id_text, service) = (id.to_string(), seen.service_id);
    let change =
        Change { action: permission.name(), resource: "job", id: id_text, service, detail: serde_json::Value::Null };
    changed(&mut tx, &who, &context, change).await?;
    let row = jobs::get(&mut tx, id).await?.ok_or(ApiError::NotFound("job"))?;
    tx.commit().await?;
    Ok((status, Json(Job::from(row))).into_response())
}
