//! `GET /v1/events?after=seq`: replay, in order.

use axum::Json;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{db::event_log, id::EventId};

use crate::{call::Call, error::ApiError, page::MAX_LIMIT, rbac::visible};

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

#[derive(Debug, Serialize, utoipa::ToSchema)]
/// A published fact.
pub struct Event {
    /// The same wherever and however often it is published.
    id: EventId,
    /// Its place in the history, from 1, without gaps.
    #[schema(example = 42)]
    seq: i64,
    #[schema(example = "save.completed")]
    r#type: String,
    /// What it is about.
    #[schema(example = "saves/019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50")]
    subject: String,
    /// The name of the service it concerns.
    #[schema(example = "items")]
    service: Option<String>,
    /// Of the request that caused it.
    trace_id: Option<String>,
    time: DateTime<Utc>,
    /// The type's own fields.
    #[schema(value_type = Object)]
    data: serde_json::Value,
}

/// Replays published facts, in the order of `seq`.
///
/// Whoever reads on from the last `seq` misses none.
#[utoipa::path(get, path = "/v1/events", params(Filter), responses((status = 200, body = [Event])))]
pub async fn handle(call: Call<Filter>) -> Result<Json<Vec<Event>>, ApiError> {
    let (limit, after) = (call.query.limit.unwrap_or(MAX_LIMIT), call.query.after.unwrap_or(0));
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::field("?limit", format!("must be 1 to {MAX_LIMIT}")));
    }
    let visible = visible(&call.who);
    let rows = event_log::after(&mut *call.conn().await?, visible.as_deref(), after, limit.into()).await?;
    let events = rows.into_iter().map(|row| Event {
        id: row.id,
        seq: row.seq,
        r#type: row.r#type,
        subject: row.subject,
        service: row.service,
        trace_id: row.trace_id,
        time: row.occurred_at,
        data: row.data.0,
    });
    Ok(Json(events.collect()))
}
