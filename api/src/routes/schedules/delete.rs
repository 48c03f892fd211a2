//! `DELETE /v1/schedules/{id}`. Its saves and what is known of its slots stay.

use axum::http::StatusCode;
use shared::{db::schedules, id::ScheduleId};

use super::{Schedule, lock};
use crate::{
    audit::{Change, removed},
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::Permission,
};

/// Deletes a schedule.
///
/// It does not fire any more. Its saves stay, and nothing but their own expiry or a person removes them; jobs that it has
/// enqueued go on.
#[utoipa::path(delete, path = "/v1/schedules/{id}", responses((status = 204)))]
pub async fn handle(call: Call, Path(id): Path<ScheduleId>) -> Result<StatusCode, ApiError> {
    let permission = Permission::ScheduleDelete;
    let mut tx = call.begin().await?;
    let row = lock(&call, &mut tx, id, permission).await?;
    let shown = Schedule::from(row);
    call.check_match(&shown)?;
    schedules::delete(&mut tx, id).await?;
    call.commit(tx, Change::new(permission, id, Some(shown.service_id), removed(&shown))).await?;
    Ok(StatusCode::NO_CONTENT)
}
