//! Published facts.

pub mod list;
pub mod stream;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{db::event_log::EventRow, id::EventId};

/// A published fact.
#[derive(Debug, Serialize)]
pub struct Event {
    pub id: EventId,
    /// Its place in the history, from 1, without gaps.
    pub seq: i64,
    pub r#type: String,
    /// What it is about: `saves/<id>`.
    pub subject: String,
    /// The service's name of that moment.
    pub service: Option<String>,
    pub trace_id: Option<String>,
    pub time: DateTime<Utc>,
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
