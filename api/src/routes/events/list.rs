//! `GET /v1/events?after=seq`: replay, in order; with `Accept: text/event-stream` it goes on ([`super::stream`]).

use axum::{
    Json,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::db::event_log;

use super::{Event, stream};
use crate::{call::Call, error::ApiError, page::MAX_LIMIT, rbac::visible, stream::Caller};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The last `seq` that was read; from the first one unless said otherwise.
    #[param(default = 0)]
    after: Option<i64>,
    /// How many at most.
    #[param(minimum = 1, maximum = 100, default = 100)]
    limit: Option<u32>,
}

/// Replays published facts, in the order of `seq`.
///
/// Whoever reads on from the last `seq` misses none. With `Accept: text/event-stream` the answer goes on as facts come, and begins
/// after `Last-Event-ID`, after `after`, or now.
#[utoipa::path(get, path = "/v1/events", params(Filter), responses((status = 200, body = [Event])))]
pub async fn handle(call: Call<Filter>, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    let limit = call.query.limit.unwrap_or(MAX_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::field("?limit", format!("must be 1 to {MAX_LIMIT}")));
    }
    if stream::is_wanted(&headers) {
        // A browser that comes back repeats the address it began with, and says in the header how far it came.
        let after = stream::last_seen(&headers)?.or(call.query.after);
        return stream::answer(&call.state, &call.who, caller, after).await;
    }
    let (visible, after) = (visible(&call.who), call.query.after.unwrap_or(0));
    let rows = event_log::after(&mut *call.conn().await?, visible.as_deref(), after, limit.into()).await?;
    Ok(Json(rows.into_iter().map(Event::from).collect::<Vec<_>>()).into_response())
}
