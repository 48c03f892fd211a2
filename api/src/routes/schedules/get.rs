//! `GET /v1/schedules/{id}`.

use axum::response::Response;
use shared::id::ScheduleId;

use super::{Schedule, find};
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Shows a schedule.
#[utoipa::path(get, path = "/v1/schedules/{id}", responses((status = 200, body = Schedule)))]
pub async fn handle(call: Call, Path(id): Path<ScheduleId>) -> Result<Response, ApiError> {
    let row = find(&call, &mut *call.conn().await?, id, Permission::ScheduleRead).await?;
    call.show(&Schedule::from(row))
}
