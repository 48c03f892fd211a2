//! `POST /v1/schedules/{id}/run`: a firing now, beside the plan.

use axum::response::Response;
use serde_json::json;
use shared::{enqueue, id::ScheduleId};

use super::{lock, slots::Slot};
use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::Permission,
    routes::{
        groups,
        jobs::{WaitQuery, refused},
    },
};

/// Fires a schedule now.
///
/// Beside its plan, be it paused or outside of its windows. The answer is the slot; its jobs are followed as a group, and
/// `?wait=30s` answers when all have ended or the time is up.
#[utoipa::path(
    post, path = "/v1/schedules/{id}/run",
    params(WaitQuery),
    responses((status = 202, body = Slot), (status = 409, description = "there is nothing to save")),
)]
pub async fn handle(call: Call<WaitQuery>, Path(id): Path<ScheduleId>) -> Result<Response, ApiError> {
    let permission = Permission::ScheduleRun;
    let wait = call.query.wait(&call.state)?;
    let mut tx = call.begin().await?;
    let row = lock(&call, &mut tx, id, permission).await?;
    let (slot, fired) = enqueue::fire_now(&mut tx, &row, &call.asked(None)).await.map_err(refused)?;
    let group = fired.group_id;
    let detail = json!({ "slot_id": slot.id, "group_id": group, "jobs": fired.jobs });
    let change = Change::new(permission, id, Some(row.service_id), detail);
    groups::answer(&call, tx, change, group, Slot::from(slot), wait).await
}
