//! `GET /v1/schedules/upcoming`: when the schedules that the caller may see will fire next.

use axum::Json;
use shared::db::schedules;

use super::upcoming::{Ahead, Plan, Upcoming};
use crate::{call::Call, error::ApiError, rbac::visible};

/// More schedules than one looks through at once.
const MAX_SCHEDULES: i64 = 10_000;
/// How far one is looked through for moments within its windows.
const MAX_MOMENTS: usize = 1_000;

/// Says which schedules fire next, of those that the caller may see.
///
/// Paused ones are left out, and so are moments outside of their windows.
#[utoipa::path(get, path = "/v1/schedules/upcoming", params(Ahead), responses((status = 200, body = [Upcoming])))]
pub async fn handle(call: Call<Ahead>) -> Result<Json<Vec<Upcoming>>, ApiError> {
    let (count, from) = call.query.bounds()?;
    let services = visible(&call.who);
    let filter = schedules::Filter { services: services.as_deref(), paused: Some(false), ..Default::default() };
    let (rows, _) = schedules::list(&mut *call.conn().await?, &filter, MAX_SCHEDULES, 0).await?;
    // Some milliseconds for a thousand schedules: not on a thread that answers others.
    let computed = tokio::task::spawn_blocking(move || {
        // What cannot be read any more is told where it is asked for alone.
        let plans: Vec<Plan> = rows.into_iter().filter_map(|row| Plan::of(row).ok()).collect();
        let mut next: Vec<Upcoming> = Vec::new();
        for plan in &plans {
            // No further than to the last of those that are found already.
            let last = next.get(count - 1).map(|last| last.fires_at);
            let soon = plan.after(from).take(MAX_MOMENTS).take_while(|one| last.is_none_or(|last| one.at < last));
            next.extend(soon.filter(|one| one.in_window).take(count));
            next.sort_by_key(|one| one.fires_at);
            next.truncate(count);
        }
        next
    });
    Ok(Json(computed.await.map_err(|error| ApiError::Internal(error.into()))?))
}
