//! `PATCH /v1/schedules/{id}`. Of one that covers a server it asks for the role globally, like creating does.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::schedules,
    id::ScheduleId,
    name::Slug,
    schedule::{Covers, CronExpr, Retention, Settings, Verification, Zone},
};
use sqlx::types::Json as Stored;

use super::{Schedule, check, lock, refused};
use crate::{
    audit::{Change, difference},
    call::Call,
    error::ApiError,
    etag,
    extract::{Json, Path},
    merge::Merge,
    rbac::Permission,
};

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
/// What is to change of a schedule. `settings`, `retention` and `verification` are replaced as wholes; `null` clears the latter
/// two. What it covers stays.
#[schema(example = json!({ "expression": "0 4 * * 1-5", "retention": { "daily": 14 }, "verification": null }))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateSchedule {
    name: Merge<Slug>,
    /// With another expression or zone the plan begins anew from now.
    #[schema(value_type = String)]
    expression: Merge<CronExpr>,
    zone: Merge<Zone>,
    settings: Merge<Settings>,
    retention: Merge<Option<Retention>>,
    verification: Merge<Option<Verification>>,
}

/// Changes a schedule.
///
/// Of one that covers a server it asks for the role globally, like creating does.
#[utoipa::path(
    patch, path = "/v1/schedules/{id}",
    request_body = UpdateSchedule,
    responses((status = 200, body = Schedule), (status = 409, description = "there is a schedule of that name")),
)]
pub async fn handle(
    call: Call,
    Path(id): Path<ScheduleId>,
    Json(body): Json<UpdateSchedule>,
) -> Result<Response, ApiError> {
    let permission = Permission::ScheduleUpdate;
    let mut tx = call.begin().await?;
    let mut row = lock(&call, &mut tx, id, permission).await?;
    if row.covers == Covers::Server {
        call.authorize(Permission::ScheduleDiscover, None)?;
    }
    let before = Schedule::from(row.clone());
    call.check_match(&before)?;
    body.name.apply(&mut row.name);
    if let Merge::Set(expression) = body.expression {
        row.expression = expression.into();
    }
    if let Merge::Set(zone) = body.zone {
        row.zone = zone.into();
    }
    if let Merge::Set(settings) = body.settings {
        row.settings = Stored(settings);
    }
    if let Merge::Set(retention) = body.retention {
        row.retention = retention.map(Stored);
    }
    if let Merge::Set(verification) = body.verification {
        row.verification = verification.map(Stored);
    }
    check(&call.state, &mut tx, &row).await?;
    schedules::update(&mut tx, &row).await.map_err(refused)?;
    if row.expression != before.expression || row.zone != before.zone {
        schedules::replan(&mut tx, id).await?;
    }
    let after = Schedule::from(schedules::get(&mut tx, id).await?.ok_or(ApiError::NotFound("schedule"))?);
    let detail = difference(&before, &after);
    call.commit(tx, Change::new(permission, id, Some(after.service_id), detail)).await?;
    etag::changed(&after)
}
