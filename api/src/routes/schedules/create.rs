//! `POST /v1/schedules`. One for a server makes targets, which asks for the role globally.

use axum::response::Response;
use chrono::Utc;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::{
        schedules::{self, ScheduleRow},
        services, targets,
    },
    id::{ScheduleId, ServerId, ServiceId, TargetId},
    name::Slug,
    schedule::{Covers, CronExpr, Retention, Settings, Verification, Zone},
};
use sqlx::{PgConnection, types::Json as Stored};

use super::{Schedule, check, refused};
use crate::{audit::Change, call::Call, error::ApiError, extract::Json, rbac::Permission};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// What is to be saved without anybody asking.
#[schema(example = json!({
    "name": "items-nightly", "covers": "target", "target_id": "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50",
    "expression": "30 2 * * *", "zone": "Europe/Berlin",
    "settings": { "jitter_s": 600, "windows": [{ "from": "22:00", "until": "06:00" }] },
    "retention": { "daily": 7, "weekly": 4, "monthly": 12 }, "verification": { "hash_days": 1, "restore_days": 30 }
}))]
#[serde(deny_unknown_fields)]
pub struct CreateSchedule {
    /// Unique among schedules.
    name: Slug,
    covers: Covers,
    /// Which target, of `covers: target`.
    target_id: Option<TargetId>,
    /// Which service, of `covers: service`; of `covers: server` the one that newly found databases become of. Of a target it is
    /// the target's, and need not be said.
    service_id: Option<ServiceId>,
    /// Which server, of `covers: server`.
    server_id: Option<ServerId>,
    /// Unix cron: minute, hour, day of month, month, day of week; seconds may stand first; or a word such as `@daily`.
    #[schema(value_type = String, example = "30 2 * * *", max_length = 500)]
    expression: CronExpr,
    /// On whose clock the expression and the windows are read; `UTC` unless said otherwise.
    zone: Option<Zone>,
    #[serde(default)]
    settings: Settings,
    /// How long its full saves are kept; none: until somebody deletes them.
    retention: Option<Retention>,
    /// How its saves are proven, and how often; none: when somebody asks.
    verification: Option<Verification>,
    /// It is there and does not fire until it is resumed.
    #[serde(default)]
    paused: bool,
}

impl CreateSchedule {
    /// The ids that its kind needs, and no other.
    fn check_ids(&self) -> Result<(), ApiError> {
        let ids = [
            ("/target_id", self.target_id.is_some(), self.covers == Covers::Target, self.covers == Covers::Target),
            ("/service_id", self.service_id.is_some(), self.covers != Covers::Target, true),
            ("/server_id", self.server_id.is_some(), self.covers == Covers::Server, self.covers == Covers::Server),
        ];
        for (pointer, is_given, is_needed, is_allowed) in ids {
            if is_needed && !is_given {
                return Err(ApiError::field(pointer, format!("is needed where a {} is covered", self.covers.as_str())));
            }
            if is_given && !is_allowed {
                return Err(ApiError::field(pointer, format!("is not for what covers a {}", self.covers.as_str())));
            }
        }
        Ok(())
    }

    /// The service it will belong to, if the caller may make one there.
    async fn service(&self, call: &Call, tx: &mut PgConnection) -> Result<ServiceId, ApiError> {
        if let Some(id) = self.target_id {
            let service = targets::get(tx, id).await?.ok_or(ApiError::NotFound("target"))?.service_id;
            call.authorize(Permission::ScheduleCreate, Some(service)).map_err(|error| hidden(error, "target"))?;
            if self.service_id.is_some_and(|given| given != service) {
                return Err(ApiError::field("/service_id", "is not the target's service"));
            }
            return Ok(service);
        }
        let service = self.service_id.ok_or_else(|| ApiError::field("/service_id", "is missing"))?;
        call.authorize(Permission::ScheduleCreate, Some(service)).map_err(|error| hidden(error, "service"))?;
        if self.covers == Covers::Server {
            call.authorize(Permission::ScheduleDiscover, None)?;
        }
        // Locked, so that it is not deleted meanwhile.
        services::lock(tx, service).await?.ok_or(ApiError::NotFound("service"))?;
        Ok(service)
    }
}

/// It is what the schedule is for that does not exist for an admin without a role there.
fn hidden(error: ApiError, what: &'static str) -> ApiError {
    match error {
        ApiError::NotFound(_) => ApiError::NotFound(what),
        error => error,
    }
}

/// Makes a schedule.
///
/// It fires for the first time at the first moment after now that its expression names. One that covers a server makes targets
/// of what it finds, which asks for the role globally.
#[utoipa::path(
    post, path = "/v1/schedules",
    request_body = CreateSchedule,
    responses(
        (status = 201, body = Schedule), (status = 404, description = "there is no such target or service"),
        (status = 409, description = "there is a schedule of that name"),
    ),
)]
pub async fn handle(call: Call, Json(body): Json<CreateSchedule>) -> Result<Response, ApiError> {
    body.check_ids()?;
    let mut tx = call.begin().await?;
    let service_id = body.service(&call, &mut tx).await?;
    let now = Utc::now();
    let row = ScheduleRow {
        id: ScheduleId::generate(),
        name: body.name,
        covers: body.covers,
        target_id: body.target_id,
        service_id,
        server_id: body.server_id,
        expression: body.expression.into(),
        zone: body.zone.unwrap_or_default().into(),
        settings: Stored(body.settings),
        retention: body.retention.map(Stored),
        verification: body.verification.map(Stored),
        paused_at: body.paused.then_some(now),
        planned_until: now,
        overdue_at: None,
        created_by: Some(call.who.admin_id),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    check(&call.state, &mut tx, &row).await?;
    schedules::insert(&mut tx, &row).await.map_err(refused)?;
    let id = row.id;
    let made = Schedule::from(schedules::get(&mut tx, id).await?.ok_or(ApiError::NotFound("schedule"))?);
    let change = Change::new(Permission::ScheduleCreate, id, Some(service_id), json!({ "after": &made }));
    call.create(tx, change, "/v1/schedules", id, made).await
}
