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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    after: Option<i64>,
    limit: Option<u32>,
}

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
