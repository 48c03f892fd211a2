//! Jobs: what was asked, how far it is, how it ended.

pub mod cancel;
pub mod get;
pub mod history;
pub mod list;
pub mod retry;
pub mod stream;
pub mod undo;

use std::time::Duration;

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    db::jobs::{self, JobRow},
    enqueue::EnqueueError,
    id::{AdminId, GroupId, JobId, SaveId, ServerId, ServiceId, TargetId},
    job::{JobState, Problem},
};
use tokio::{sync::broadcast::error::RecvError, time::Instant};

use crate::{
    call::Call,
    error::{ApiError, FieldError},
    rbac::Permission,
    state::AppState,
};

/// A job as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Job {
    pub id: JobId,
    /// `backup`, `restore`, `undo`, `probe`, `preflight`, `delete`, `gc`, `verify`, `copy`, …
    #[schema(example = "backup")]
    pub kind: String,
    pub state: JobState,
    /// What it does in its state: `dump`, `committing`, …
    pub phase: Option<String>,
    /// What was asked, with its version `v`.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// The higher the sooner: 0 to 9.
    #[schema(example = 5)]
    pub priority: i16,
    #[schema(example = "default")]
    pub worker_group: String,
    pub service_id: Option<ServiceId>,
    pub target_id: Option<TargetId>,
    pub server_id: Option<ServerId>,
    /// The save it makes.
    pub save_id: Option<SaveId>,
    /// The save it reads.
    pub reads_save_id: Option<SaveId>,
    /// Jobs that are followed together.
    pub group_id: Option<GroupId>,
    /// The job that must have ended well before.
    pub after_job_id: Option<JobId>,
    /// The job that it repeats.
    pub retry_of: Option<JobId>,
    /// Attempts so far.
    #[schema(example = 1)]
    pub attempt: i32,
    #[schema(example = 5)]
    pub max_attempts: i32,
    /// Who works on it.
    pub worker: Option<String>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    /// Not before then.
    pub next_run_at: DateTime<Utc>,
    /// How far it is: `raw_bytes`, `stored_bytes`, `bytes_per_s`, `elapsed_ms`, …
    #[schema(value_type = Object)]
    pub progress: Value,
    /// What came out, by kind.
    #[schema(value_type = Option<Object>)]
    pub result: Option<Value>,
    /// Why the last attempt failed.
    pub error: Option<Problem>,
    pub requested_by: Option<AdminId>,
    /// Of the call that asked for it.
    pub request_id: Option<String>,
    /// Goes with everything that came of the call.
    pub trace_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<JobRow> for Job {
    fn from(row: JobRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind,
            state: row.state,
            phase: row.phase,
            payload: row.payload.0,
            priority: row.priority,
            worker_group: row.worker_group,
            service_id: row.service_id,
            target_id: row.target_id,
            server_id: row.server_id,
            save_id: row.save_id,
            reads_save_id: row.reads_save_id,
            group_id: row.group_id,
            after_job_id: row.after_job_id,
            retry_of: row.retry_of,
            attempt: row.attempt,
            max_attempts: row.max_attempts,
            worker: row.lease_owner,
            cancel_requested_at: row.cancel_requested_at,
            next_run_at: row.next_run_at,
            progress: row.progress.0,
            result: row.result.map(|result| result.0),
            error: row.error.map(|error| error.0),
            requested_by: row.requested_by,
            request_id: row.request_id,
            trace_id: row.trace_id,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

/// `?wait=30s`.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// How long to wait for the job's end: seconds, or with a unit (`500ms`, `30s`, `1m`). At most what is configured.
    #[param(pattern = "^[0-9]+(ms|s|m)?$")]
    wait: Option<String>,
}

impl WaitQuery {
    /// How long to wait for the end; zero without `wait`. More than the configured bound is refused.
    pub fn wait(&self, state: &AppState) -> Result<Duration, ApiError> {
        let Some(text) = &self.wait else { return Ok(Duration::ZERO) };
        let bound = state.http.max_wait;
        match parse_wait(text) {
            Some(wait) if wait <= bound => Ok(wait),
            Some(_) => Err(ApiError::field("?wait", format!("is longer than {} s", bound.as_secs()))),
            None => Err(ApiError::field("?wait", "must be like 30s, 500ms or 1m")),
        }
    }
}

fn parse_wait(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "" | "s" => Some(Duration::from_secs(number)),
        "ms" => Some(Duration::from_millis(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    }
}

/// Why nothing was enqueued, as the caller is told.
pub fn refused(error: EnqueueError) -> ApiError {
    match error {
        EnqueueError::TargetMissing(_) => ApiError::NotFound("target"),
        EnqueueError::SaveMissing(_) => ApiError::NotFound("save"),
        EnqueueError::JobMissing(_) => ApiError::NotFound("job"),
        EnqueueError::SaveNotAvailable { .. }
        | EnqueueError::SaveNotReadable { .. }
        | EnqueueError::CopyNotBroken { .. }
        | EnqueueError::NoGoodCopy(_)
        | EnqueueError::SavePending { .. }
        | EnqueueError::SavePinned(_)
        | EnqueueError::SaveInUse { .. }
        | EnqueueError::SaveHeld { .. }
        | EnqueueError::SaveFetched(_)
        | EnqueueError::SaveDeleted(_)
        | EnqueueError::DeletionUnderway { .. }
        | EnqueueError::NotRetryable { .. }
        | EnqueueError::NotRepeatable(_)
        | EnqueueError::TargetBusy(_)
        | EnqueueError::DatabaseBusy(_)
        | EnqueueError::NothingToSave(_)
        | EnqueueError::FireInstead(_)
        | EnqueueError::OfDataSet { .. }
        | EnqueueError::BrokerMissing(_)
        | EnqueueError::NothingKept => ApiError::Conflict(error.to_string()),
        EnqueueError::StoreUnknown { .. } | EnqueueError::CopyMissing { .. } => {
            let errors = vec![FieldError::new("/stores", error.to_string())];
            ApiError::Invalid { detail: "the request names a store that cannot be used".into(), errors }
        }
        EnqueueError::Db(error) => error.into(),
        error @ EnqueueError::Queue(_) => ApiError::Internal(error.into()),
    }
}

/// Refuses a priority out of bounds, where one is asked for.
pub fn check_priority(priority: Option<i16>) -> Result<(), ApiError> {
    if priority.is_some_and(|p| !(0..=9).contains(&p)) {
        return Err(ApiError::field("/priority", "must be 0 to 9"));
    }
    Ok(())
}

/// A job that the caller may see; hidden ones do not exist.
async fn find<Q>(call: &Call<Q>, id: JobId, permission: Permission) -> Result<JobRow, ApiError> {
    let row = jobs::get(&mut *call.conn().await?, id).await?.ok_or(ApiError::NotFound("job"))?;
    call.authorize(permission, row.service_id)?;
    Ok(row)
}

/// The job when it has ended, or as it stands when the time is up. No connection is held meanwhile.
pub async fn wait_for(state: &AppState, id: JobId, wait: Duration) -> Result<JobRow, ApiError> {
    let until = Instant::now() + wait;
    // Before the first look, so that an end between look and wait is heard.
    let mut ended = state.ended.subscribe();
    loop {
        let row = {
            let mut conn = state.pool.acquire().await?;
            jobs::get(&mut conn, id).await?.ok_or(ApiError::NotFound("job"))?
        };
        let now = Instant::now();
        if row.state.is_terminal() || now >= until {
            return Ok(row);
        }
        // A notification may be lost with its connection: look again each second.
        let look = until.min(now + Duration::from_secs(1));
        let heard = async {
            loop {
                match ended.recv().await {
                    Ok(other) if other != id => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                    _ => return,
                }
            }
        };
        tokio::select! { () = heard => {}, () = tokio::time::sleep_until(look) => {} }
    }
}

/// 202 with the job, after waiting for its end where that was asked for.
pub async fn accepted(state: &AppState, id: JobId, wait: Duration) -> Result<Response, ApiError> {
    Ok(accept(wait_for(state, id, wait).await?))
}

/// As [`accepted`], of a job that was just committed: whoever does not wait is answered without looking at it again.
pub async fn queued(state: &AppState, row: JobRow, wait: Duration) -> Result<Response, ApiError> {
    if wait.is_zero() { Ok(accept(row)) } else { accepted(state, row.id, wait).await }
}

fn accept(row: JobRow) -> Response {
    let location = [(header::LOCATION, format!("/v1/jobs/{}", row.id))];
    (StatusCode::ACCEPTED, location, Json(Job::from(row))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_read() {
        for (text, ms) in
            [("30s", Some(30_000)), ("5", Some(5000)), ("250ms", Some(250)), ("1m", Some(60_000)), ("0", Some(0))]
        {
            assert_eq!(parse_wait(text).map(|d| d.as_millis()), ms, "{text}");
        }
        for text in ["", "s", "-1s", "1h", "1.5s", "99999999999999999999s", "é", "307445734561825861m"] {
            assert_eq!(parse_wait(text), None, "{text}");
        }
    }
}
