//! `GET /v1/stats`: how targets fared day by day, what they hold, and what their schedules will store in twelve months.

use std::collections::HashMap;

use axum::response::Response;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    db::{
        retention,
        stats::{self, DayStat, ScheduleStat, TargetStat},
        targets,
    },
    id::{SaveId, ScheduleId, ServiceId, TargetId},
    name::Slug,
    schedule::saves_in_a_year,
};
use sqlx::PgConnection;

use crate::{
    call::Call,
    error::ApiError,
    page::Page,
    rbac::{Permission, visible},
};

/// Days that one answer shows at most, and unless told otherwise.
const MOST_DAYS: i64 = 366;
const USUAL_DAYS: i64 = 30;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this service alone.
    service: Option<ServiceId>,
    /// Of this target alone.
    target: Option<TargetId>,
    /// The first day, of UTC; 29 days before the last unless said otherwise.
    from: Option<NaiveDate>,
    /// The last day, of UTC; today unless said otherwise.
    to: Option<NaiveDate>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

impl Filter {
    fn span(&self, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), ApiError> {
        let to = self.to.unwrap_or(today);
        let from = self.from.unwrap_or_else(|| to - TimeDelta::days(USUAL_DAYS - 1));
        if from > to {
            return Err(ApiError::field("?from", "is after the last day"));
        }
        if (to - from).num_days() >= MOST_DAYS {
            return Err(ApiError::field("?from", format!("is more than {MOST_DAYS} days before the last day")));
        }
        Ok((from, to))
    }
}

/// How a target fared.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TargetStats {
    pub service_id: ServiceId,
    /// The service's name.
    pub service: Slug,
    pub target_id: TargetId,
    /// The target's name.
    pub target: Slug,
    /// Its newest full save; null: there is none.
    pub newest: Option<NewestSave>,
    /// Days since the newest full save was made that is valid and verified; null: none is.
    #[schema(example = 1.5)]
    pub verified_age_days: Option<f64>,
    /// The days on which a backup ended, in order.
    pub days: Vec<Day>,
    /// What the schedules that have saved it will store of it.
    pub schedules: Vec<Forecast>,
}

/// The newest full save of a target.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct NewestSave {
    pub save_id: SaveId,
    #[schema(example = 7)]
    pub version: i32,
    pub available_at: DateTime<Utc>,
    pub raw_bytes: i64,
    /// Of one copy.
    pub stored_bytes: i64,
}

/// The backups that ended on a day of UTC, partial ones too.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StatsDay)]
pub struct Day {
    #[schema(example = "2026-11-22")]
    pub day: NaiveDate,
    #[schema(example = 1)]
    pub runs: i64,
    #[schema(example = 0)]
    pub failures: i64,
    #[schema(example = 0)]
    pub cancelled: i64,
    /// Of the backups that succeeded, as are all below.
    pub raw_bytes: i64,
    /// Of one copy of each.
    pub stored_bytes: i64,
    /// Raw bytes by the time that they took; null: none succeeded.
    pub raw_bytes_per_s: Option<f64>,
    /// From the first start to the end; null: none succeeded.
    pub duration_s: Option<Seconds>,
    /// Of the last one; null: none succeeded.
    pub newest_raw_bytes: Option<i64>,
    pub newest_stored_bytes: Option<i64>,
}

/// How long backups took, in seconds.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StatsSeconds)]
pub struct Seconds {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

/// What a schedule will store of a target in twelve months, if it goes on as it did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Forecast {
    pub schedule_id: ScheduleId,
    /// The schedule's name.
    pub schedule: Slug,
    /// Seconds between two of its saves, on the average of the last thirty.
    #[schema(example = 86_400.0)]
    pub interval_s: f64,
    /// Of one copy, on the same average.
    pub mean_stored_bytes: i64,
    /// Saves in twelve months.
    #[schema(example = 25)]
    pub saves: usize,
    /// Of one copy of each.
    pub stored_bytes: i64,
    /// How it was reckoned.
    #[schema(example = "25 saves × 1000 bytes")]
    pub arithmetic: String,
}

impl From<DayStat> for Day {
    fn from(row: DayStat) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = |seconds: f64| row.raw_bytes as f64 / seconds;
        let times = row.least_s.zip(row.median_s).zip(row.most_s);
        Self {
            day: row.day,
            runs: row.runs,
            failures: row.failures,
            cancelled: row.cancelled,
            raw_bytes: row.raw_bytes,
            stored_bytes: row.stored_bytes,
            raw_bytes_per_s: row.seconds.filter(|seconds| *seconds > 0.0).map(rate),
            duration_s: times.map(|((min, median), max)| Seconds { min, median, max }),
            newest_raw_bytes: row.newest_raw_bytes,
            newest_stored_bytes: row.newest_stored_bytes,
        }
    }
}

impl TargetStats {
    fn of(row: TargetStat, days: Vec<Day>, schedules: Vec<Forecast>) -> Self {
        let sizes = row.raw_bytes.zip(row.stored_bytes);
        let newest = row.save_id.zip(row.version).zip(row.available_at).zip(sizes);
        Self {
            service_id: row.service_id,
            service: row.service,
            target_id: row.target_id,
            target: row.target,
            newest: newest.map(|(((save_id, version), available_at), (raw_bytes, stored_bytes))| NewestSave {
                save_id,
                version,
                available_at,
                raw_bytes,
                stored_bytes,
            }),
            verified_age_days: row.verified_age_days,
            days,
            schedules,
        }
    }
}

/// None: it has not stored enough yet to say, or has a zone that this version does not know.
async fn forecast(conn: &mut PgConnection, row: ScheduleStat) -> Result<Option<Forecast>, ApiError> {
    let Some((interval_s, mean)) = row.interval_s.filter(|s| *s >= 1.0).zip(row.mean_stored_bytes) else {
        return Ok(None);
    };
    let Ok(zone) = row.zone.parse() else { return Ok(None) };
    #[expect(clippy::cast_possible_truncation, reason = "seconds between saves, and the bytes of one")]
    let (interval, mean) = (TimeDelta::seconds(interval_s.min(1e9) as i64), mean.round() as i64);
    let (saves, now) = retention::candidates(conn, row.schedule_id, row.target_id).await?;
    let rules = row.retention.map(|rules| rules.0).unwrap_or_default();
    let count = saves_in_a_year(&saves, interval, &rules, zone, now);
    let stored = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(mean);
    let by = if rules.has_rules() { "that its retention leaves by then" } else { "as nothing removes any" };
    Ok(Some(Forecast {
        schedule_id: row.schedule_id,
        schedule: row.schedule,
        interval_s,
        mean_stored_bytes: mean,
        saves: count,
        stored_bytes: stored,
        arithmetic: format!(
            "{count} saves {by}, one every {interval_s:.0} s, × {mean} bytes, the mean of its last {}: {stored} bytes in each store",
            row.saves
        ),
    }))
}

/// Tells how targets fared, day by day.
///
/// Runs, failures, bytes, rates and durations of the backups of each day of UTC, what the newest save holds, how old what is
/// proven is, and what each schedule will store in twelve months.
#[utoipa::path(get, path = "/v1/stats", params(Filter), responses((status = 200, body = [TargetStats])))]
pub async fn handle(call: Call<Filter>) -> Result<Response, ApiError> {
    let query = &call.query;
    let page = Page::new(query.page, query.limit)?;
    let (from, to) = query.span(Utc::now().date_naive())?;
    let mut conn = call.conn().await?;
    if let Some(service) = query.service {
        call.authorize(Permission::SaveRead, Some(service))?;
    }
    if let Some(target) = query.target {
        let row = targets::get(&mut conn, target).await?.ok_or(ApiError::NotFound("save"))?;
        call.authorize(Permission::SaveRead, Some(row.service_id))?;
    }
    let only = query.service.map(|id| vec![id]).or_else(|| visible(&call.who));
    let (rows, total) = stats::targets(&mut conn, only.as_deref(), query.target, page.limit(), page.offset()).await?;
    let ids: Vec<TargetId> = rows.iter().map(|row| row.target_id).collect();
    let mut days: HashMap<TargetId, Vec<Day>> = HashMap::new();
    for row in stats::days(&mut conn, &ids, from, to).await? {
        days.entry(row.target_id).or_default().push(row.into());
    }
    let mut schedules: HashMap<TargetId, Vec<Forecast>> = HashMap::new();
    for row in stats::schedules(&mut conn, &ids).await? {
        let target = row.target_id;
        if let Some(forecast) = forecast(&mut conn, row).await? {
            schedules.entry(target).or_default().push(forecast);
        }
    }
    let stats = rows.into_iter().map(|row| {
        let id = row.target_id;
        TargetStats::of(row, days.remove(&id).unwrap_or_default(), schedules.remove(&id).unwrap_or_default())
    });
    Ok(page.answer::<TargetStats, _>(&call.uri, stats.collect(), total, true))
}
