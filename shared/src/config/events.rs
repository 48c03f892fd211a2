//! `[events]`: where events are published.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::reader::Section;

/// Whether there is a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventMode {
    #[serde(rename = "rabbitmq")]
    RabbitMq,
    /// The history is kept, nothing is published.
    #[default]
    Off,
}

/// Where events go.
#[derive(Debug, Clone)]
pub struct Events {
    pub mode: EventMode,
    /// AMQP URL, with its password.
    pub url: Option<SecretString>,
    /// Durable topic exchange.
    pub exchange: String,
    /// Fanout exchange and queue for what nobody is bound for.
    pub unrouted: String,
    /// The longest that queue grows, in bytes.
    pub unrouted_max_bytes: u64,
}

impl Events {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let url = s.secret("url");
        if url.as_ref().is_some_and(|url| !["amqp://", "amqps://"].iter().any(|p| url.expose_secret().starts_with(p))) {
            s.fail("url", "is not an AMQP URL", "give amqp://user:password@host:5672/%2f");
        }
        Self {
            mode: s.get("mode", "\"rabbitmq\" or \"off\""),
            url,
            exchange: s.get("exchange", "an exchange's name"),
            unrouted: s.get("unrouted", "an exchange's and queue's name"),
            unrouted_max_bytes: s.number("unrouted_max_bytes", 1 << 20..=10 << 30),
        }
    }
}
