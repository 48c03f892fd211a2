//! `GET /v1/events?after=seq`: replay, in order.

use axum::Json;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{db::event_log, id::EventId};

use crate::{call::Call, error::ApiError, page::MAX_LIMIT, rbac::visible};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    after: Option<i64>,
    limit: Option<u32>,
}

#[derive(Debug, Serialize)]
pub struct Event {
    id: EventId,
    seq: i64,
    r#type: String,
    subject: String,
    service: Option<String>,
    trace_id: Option<String>,
    time: DateTime<Utc>,
    data: serde_json::Value,
}

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
