//! `POST /v1/schedules/{id}/pause`: it does not fire until it is resumed.

use axum::Json;
use shared::id::ScheduleId;

use super::{Schedule, set_paused};
use crate::{call::Call, error::ApiError, extract::Path};

/// Pauses a schedule.
///
/// It does not fire until it is resumed; its planned moments are written down as skipped. Repeating it is fine.
#[utoipa::path(post, path = "/v1/schedules/{id}/pause", responses((status = 200, body = Schedule)))]
pub async fn handle(call: Call, Path(id): Path<ScheduleId>) -> Result<Json<Schedule>, ApiError> {
    set_paused(call, id, true).await.map(Json)
}
