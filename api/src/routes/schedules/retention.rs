//! `GET /v1/schedules/{id}/retention`: what of the schedule's saves is kept and what would go, with every reason. Nothing is changed;
//! rules in the query are tried instead of the schedule's own.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    db::retention::{self, RunRow},
    enqueue,
    id::{SaveId, ScheduleId, TargetId},
    name::Slug,
    schedule::{Block, Cause, Fate, Plan, Retention, Verdict},
};

use crate::{
    call::Call,
    error::ApiError,
    extract::Path,
    page::Page,
    rbac::{Permission, visible},
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// This target's alone.
    target: Option<TargetId>,
    /// Instead of the schedule's own rules, with the others that are given: the newest saves.
    last: Option<u32>,
    /// Likewise: of so many hours.
    hourly: Option<u32>,
    /// Likewise: of so many days.
    daily: Option<u32>,
    /// Likewise: of so many weeks of ISO 8601.
    weekly: Option<u32>,
    /// Likewise: of so many months.
    monthly: Option<u32>,
    /// Likewise: of so many years.
    yearly: Option<u32>,
    /// Likewise: whatever is at most so many days older than the newest.
    within_days: Option<u32>,
    /// Likewise: the newest verified ones; 1 unless said otherwise.
    verified: Option<u32>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

impl Filter {
    /// The rules to try; none: the schedule's own.
    fn rules(&self) -> Option<Retention> {
        let rules = Retention {
            last: self.last,
            hourly: self.hourly,
            daily: self.daily,
            weekly: self.weekly,
            monthly: self.monthly,
            yearly: self.yearly,
            within_days: self.within_days,
            verified: self.verified,
        };
        (rules != Retention::default()).then_some(rules)
    }
}

/// What retention would do now with the saves of one target.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RetentionPlan)]
pub struct TargetPlan {
    pub target_id: TargetId,
    /// The target's name.
    pub target: Slug,
    /// Why nothing is removed now; the lines say what would be. Null: it is not blocked.
    pub blocked: Option<Block>,
    /// The last look that removed, or would have; null: there was none.
    pub last_run: Option<LastRun>,
    /// How many of the schedule's saves stay.
    #[schema(example = 21)]
    pub kept: usize,
    /// How many would go.
    #[schema(example = 1)]
    pub removed: usize,
    /// Bytes of one copy of each that would go.
    pub freed_bytes: i64,
    /// Saves of the target that are not the schedule's: it never touches them.
    #[schema(example = 3)]
    pub others: usize,
    /// The schedule's saves, the newest first.
    pub saves: Vec<Line>,
}

/// What a look came to.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RetentionRun)]
pub struct LastRun {
    pub at: DateTime<Utc>,
    pub kept: i32,
    pub removed: i32,
    /// Why it removed nothing; null: it was not blocked.
    pub blocked: Option<Cause>,
    /// Since when it has been blocked for that.
    pub blocked_since: Option<DateTime<Utc>>,
}

/// What becomes of a save.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = RetentionLine)]
pub struct Line {
    pub save_id: SaveId,
    #[schema(example = 7)]
    pub version: i32,
    pub created_at: DateTime<Utc>,
    /// Of one copy.
    pub stored_bytes: Option<i64>,
    pub fate: Fate,
    /// All that keeps it, or why no rule does.
    #[schema(example = json!(["daily: the newest of 2026-11-22, 1 of 14"]))]
    pub reasons: Vec<String>,
}

impl From<Verdict> for Line {
    fn from(verdict: Verdict) -> Self {
        Self {
            save_id: verdict.save_id,
            version: verdict.version,
            created_at: verdict.created_at,
            stored_bytes: verdict.stored_bytes,
            fate: verdict.fate,
            reasons: verdict.reasons,
        }
    }
}

impl From<(RunRow, Plan)> for TargetPlan {
    fn from((row, plan): (RunRow, Plan)) -> Self {
        let (own, others): (Vec<Verdict>, Vec<Verdict>) = plan.verdicts.into_iter().partition(|verdict| verdict.is_own);
        let goes = |verdict: &&Verdict| verdict.fate == Fate::Remove;
        let removed = own.iter().filter(goes).count();
        Self {
            target_id: row.target_id,
            target: row.target,
            blocked: plan.blocked,
            last_run: row.ran_at.map(|at| LastRun {
                at,
                kept: row.kept.unwrap_or_default(),
                removed: row.removed.unwrap_or_default(),
                blocked: row.blocked,
                blocked_since: row.blocked_since,
            }),
            kept: own.len() - removed,
            removed,
            freed_bytes: own.iter().filter(goes).filter_map(|verdict| verdict.stored_bytes).sum(),
            others: others.len(),
            saves: own.into_iter().map(Line::from).collect(),
        }
    }
}

/// Shows what retention would do now, target by target, with the reasons for each save.
///
/// Rules in the query are tried instead of the schedule's own; nothing is changed by either.
#[utoipa::path(get, path = "/v1/schedules/{id}/retention", params(Filter), responses((status = 200, body = [TargetPlan])))]
pub async fn handle(call: Call<Filter>, Path(id): Path<ScheduleId>) -> Result<Response, ApiError> {
    let page = Page::new(call.query.page, call.query.limit)?;
    let mut conn = call.conn().await?;
    let schedule = retention::rules(&mut conn, id).await?.ok_or(ApiError::NotFound("schedule"))?;
    call.authorize(Permission::ScheduleRead, Some(schedule.service_id))?;
    let rules = call.query.rules().or(schedule.retention.map(|rules| rules.0)).unwrap_or_default();
    let seen = visible(&call.who);
    let (rows, total) =
        retention::targets(&mut conn, id, seen.as_deref(), call.query.target, page.limit(), page.offset()).await?;
    let mut plans = Vec::with_capacity(rows.len());
    for row in rows {
        let plan = enqueue::retention_plan(&mut conn, id, row.target_id, &rules, &schedule.zone).await?;
        plans.push((row, plan));
    }
    Ok(page.answer::<TargetPlan, _>(&call.uri, plans, total, true))
}
