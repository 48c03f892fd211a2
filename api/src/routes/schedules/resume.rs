//! `POST /v1/schedules/{id}/resume`: it fires again.

use axum::Json;
use shared::id::ScheduleId;

use super::{Schedule, set_paused};
use crate::{call::Call, error::ApiError, extract::Path};

/// Resumes a schedule.
///
/// It fires again from its next planned moment; what was skipped meanwhile is not made up for. Repeating it is fine.
#[utoipa::path(post, path = "/v1/schedules/{id}/resume", responses((status = 200, body = Schedule)))]
pub async fn handle(call: Call, Path(id): Path<ScheduleId>) -> Result<Json<Schedule>, ApiError> {
    set_paused(call, id, false).await.map(Json)
}
