//! Published facts.

pub mod list;
pub mod stream;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{db::event_log::EventRow, id::EventId};

/// A published fact.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Event {
    pub id: EventId,
    /// Its place in the history, from 1, without gaps.
    #[schema(example = 42)]
    pub seq: i64,
    #[schema(example = "save.completed")]
    pub r#type: String,
    /// What it is about: `saves/<id>`.
    #[schema(example = "saves/019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50")]
    pub subject: String,
    /// The service's name of that moment.
    #[schema(example = "items")]
    pub service: Option<String>,
    /// Of the request that caused it.
    pub trace_id: Option<String>,
    pub time: DateTime<Utc>,
    /// The type's own fields.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            seq: row.seq,
            r#type: row.r#type,
            subject: row.subject,
            service: row.service,
            trace_id: row.trace_id,
            time: row.occurred_at,
            data: row.data.0,
        }
    }
}
