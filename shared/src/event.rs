//! Events: facts that are published (design §9).

/// A fact, as written to the outbox.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub kind: String,
    pub subject: String,
    pub aggregate: String,
    pub service: Option<String>,
    pub trace_id: Option<String>,
    pub data: serde_json::Value,
}
