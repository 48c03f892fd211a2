//! Events: facts that are published (design §9). A fact is written as a [`NewEvent`] and leaves as an [`Outgoing`], in
//! the form of `CloudEvents` 1.0.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use crate::id::{EventId, InstallationId, ServiceId};

/// What a `CloudEvents` JSON body is announced as.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A fact, as written to the outbox in the transaction that makes it true.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event's type and its routing key: `holdfast.save.available`.
    pub kind: String,
    /// What it is about, in words a consumer can follow: `saves/<id>`.
    pub subject: String,
    /// Whose events keep their order among each other: the id of the save or job.
    pub aggregate: String,
    /// The service that it concerns, if it is one. Readers are told its name of that moment.
    pub service: Option<ServiceId>,
    /// The trace of the request that caused it.
    pub trace_id: Option<String>,
    /// The type's own fields. Ids and figures; never a secret.
    pub data: Value,
}

/// A fact with its place in the history, ready to be published.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The same at every attempt: consumers recognise a repetition by it.
    pub id: EventId,
    /// The place in the history, from 1, without gaps.
    pub seq: i64,
    pub kind: String,
    pub subject: String,
    pub aggregate: String,
    pub service: Option<String>,
    pub trace_id: Option<String>,
    pub data: Value,
    pub occurred_at: DateTime<Utc>,
}

impl Outgoing {
    /// The `CloudEvents` 1.0 JSON form. `seq`, `traceid` and `service` are extension attributes; an absent one is left
    /// out, as the format demands.
    #[must_use]
    pub fn to_cloud_event(&self, installation: InstallationId) -> Value {
        let mut body = Map::new();
        let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
        put("specversion", "1.0".into());
        put("id", self.id.to_string().into());
        put("type", self.kind.clone().into());
        put("source", format!("holdfast/{installation}").into());
        put("subject", self.subject.clone().into());
        put("time", self.occurred_at.to_rfc3339_opts(SecondsFormat::Micros, true).into());
        put("datacontenttype", "application/json".into());
        put("seq", self.seq.into());
        if let Some(trace) = &self.trace_id {
            put("traceid", trace.clone().into());
        }
        if let Some(service) = &self.service {
            put("service", service.clone().into());
        }
        put("data", self.data.clone());
        Value::Object(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_event_has_the_required_attributes_and_leaves_absent_ones_out() {
        let event = Outgoing {
            id: EventId::generate(),
            seq: 7,
            kind: "holdfast.save.available".to_owned(),
            subject: "saves/1".to_owned(),
            aggregate: "1".to_owned(),
            service: None,
            trace_id: Some("abc".to_owned()),
            data: serde_json::json!({"version": 3}),
            occurred_at: DateTime::UNIX_EPOCH,
        };
        let installation = InstallationId::generate();
        assert_eq!(
            event.to_cloud_event(installation),
            serde_json::json!({
                "specversion": "1.0", "id": event.id.to_string(), "type": "holdfast.save.available",
                "source": format!("holdfast/{installation}"), "subject": "saves/1",
                "time": "1970-01-01T00:00:00.000000Z", "datacontenttype": "application/json",
                "seq": 7, "traceid": "abc", "data": {"version": 3},
            })
        );
    }
}
