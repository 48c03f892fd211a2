//! `GET /v1/schedules/{id}/upcoming`: when it will fire, computed.

use axum::Json;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    db::schedules::ScheduleRow,
    id::ScheduleId,
    name::Slug,
    schedule::{CronExpr, Zone, jitter},
};

use super::find;
use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// A moment at which a schedule is to fire.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Upcoming {
    pub schedule_id: ScheduleId,
    pub schedule: Slug,
    /// The moment that the expression names.
    pub at: DateTime<Utc>,
    /// The same on the clock of the schedule's zone.
    #[schema(example = "2026-11-22T06:00:00+01:00")]
    pub local: String,
    /// The moment with its jitter.
    pub fires_at: DateTime<Utc>,
    /// Whether it lies within the schedule's windows; outside it is skipped.
    pub in_window: bool,
    /// Whether the schedule is paused: it is skipped then, unless the schedule is resumed before.
    pub paused: bool,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Ahead {
    /// How many moments.
    #[param(minimum = 1, maximum = 100, default = 10)]
    count: Option<usize>,
    /// After this instant; now, unless said otherwise.
    from: Option<DateTime<Utc>>,
}

impl Ahead {
    /// How many, and after when.
    pub(super) fn bounds(&self) -> Result<(usize, DateTime<Utc>), ApiError> {
        let count = self.count.unwrap_or(10);
        if !(1..=100).contains(&count) {
            return Err(ApiError::field("?count", "must be 1 to 100"));
        }
        Ok((count, self.from.unwrap_or_else(Utc::now)))
    }
}

/// When a schedule fires, as its row says.
#[derive(Debug)]
pub(super) struct Plan {
    row: ScheduleRow,
    expression: CronExpr,
    zone: Zone,
}

impl Plan {
    /// Parses what was parsed before it was stored; an earlier version may have taken what this one does not.
    pub(super) fn of(row: ScheduleRow) -> Result<Self, ApiError> {
        let unread = |what: &str, error: &dyn std::fmt::Display| {
            ApiError::Conflict(format!(
                "the {what} of schedule {} cannot be read any more, it {error}: change it",
                row.name
            ))
        };
        let expression = CronExpr::parse(&row.expression).map_err(|error| unread("expression", &error))?;
        let zone = Zone::parse(&row.zone).map_err(|error| unread("zone", &error))?;
        Ok(Self { row, expression, zone })
    }

    /// Its moments after an instant.
    pub(super) fn after(&self, from: DateTime<Utc>) -> impl Iterator<Item = Upcoming> + '_ {
        self.expression.next_after(from, self.zone).map(|at| {
            let settings = &self.row.settings;
            let fires_at = at + jitter(self.row.id, at, settings.jitter_s);
            Upcoming {
                schedule_id: self.row.id,
                schedule: self.row.name.clone(),
                at,
                local: at.with_timezone(&self.zone.0).to_rfc3339_opts(SecondsFormat::Secs, false),
                fires_at,
                in_window: settings.may_fire(fires_at, self.zone),
                paused: self.row.paused_at.is_some(),
            }
        })
    }
}

/// Says when a schedule will fire.
///
/// Computed from its expression, with jitter and windows; `from` looks elsewhere than from now, so that a change of the clock
/// can be looked at before it comes.
#[utoipa::path(
    get, path = "/v1/schedules/{id}/upcoming",
    params(Ahead),
    responses((status = 200, body = [Upcoming]), (status = 409, description = "an expression of an earlier version cannot be read any more")),
)]
pub async fn handle(call: Call<Ahead>, Path(id): Path<ScheduleId>) -> Result<Json<Vec<Upcoming>>, ApiError> {
    let (count, from) = call.query.bounds()?;
    let row = find(&call, &mut *call.conn().await?, id, Permission::ScheduleRead).await?;
    Ok(Json(Plan::of(row)?.after(from).take(count).collect()))
}
