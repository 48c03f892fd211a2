//! `GET /v1/schedules/{id}/slots`: what became of its planned moments.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use shared::{
    db::slots::{self, SlotRow},
    id::{GroupId, ScheduleId, SlotId},
    schedule::SlotState,
};

use super::find;
use crate::{call::Call, error::ApiError, extract::Path, page::Page, rbac::Permission, view::view};

view! {
    /// A planned moment of a schedule, and what became of it.
    pub struct Slot of SlotRow {
        id: SlotId,
        schedule_id: ScheduleId,
        /// The moment that the expression names.
        at: DateTime<Utc>,
        /// The moment with its jitter.
        fires_at: DateTime<Utc>,
        state: SlotState,
        /// Why it was skipped or missed, what could not be reached, or what was left out.
        reason: Option<String>,
        /// Its jobs are followed at `/v1/groups/{group_id}`.
        group_id: Option<GroupId>,
        /// Somebody asked for it; it was not planned.
        by_hand: bool,
        /// When it was decided what becomes of it; null: its moment is still to come.
        decided_at: Option<DateTime<Utc>>,
    }
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// In this state alone.
    state: Option<SlotState>,
    /// From 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1)]
    page: Option<u32>,
    /// How many things a page holds.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
}

/// Lists the slots of a schedule, newest first.
///
/// Each planned moment has one, whatever became of it. The first may be the next to come.
#[utoipa::path(get, path = "/v1/schedules/{id}/slots", params(Filter), responses((status = 200, body = [Slot])))]
pub async fn handle(call: Call<Filter>, Path(id): Path<ScheduleId>) -> Result<Response, ApiError> {
    let page = Page::new(call.query.page, call.query.limit)?;
    let mut conn = call.conn().await?;
    find(&call, &mut conn, id, Permission::ScheduleRead).await?;
    let (rows, total) = slots::list(&mut conn, id, call.query.state, page.limit(), page.offset()).await?;
    Ok(page.answer::<Slot, _>(&call.uri, rows, total, true))
}
