//! `[telemetry]`: what is logged and how.

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use super::reader::Section;

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Json,
    Text,
}

/// What is logged.
#[derive(Debug, Clone)]
pub struct Telemetry {
    pub log_format: LogFormat,
    /// As tracing's `EnvFilter` reads it; known to parse.
    pub filter: String,
}

impl Telemetry {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let filter: String = s.get("filter", "a filter");
        if let Err(error) = EnvFilter::builder().parse(&filter) {
            s.fail("filter", &error.to_string(), "give for example \"info\" or \"info,sqlx=warn\"");
        }
        Self { log_format: s.get("log_format", "\"json\" or \"text\""), filter }
    }
}
