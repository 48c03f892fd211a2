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
    /// PEM of the authorities that may have signed the broker's certificate: those and no others.
    pub ca_pem: Option<String>,
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
        let ca_pem = ca_pem(s);
        if url.as_ref().is_some_and(|url| url.expose_secret().starts_with("amqps://"))
            && ca_pem.is_none()
            && !s.has_failed("ca_file")
        {
            let cure =
                "name a PEM file: your own authority's, or the system's (Debian: /etc/ssl/certs/ca-certificates.crt)";
            s.fail(
                "ca_file",
                "is missing: nobody is trusted to vouch for a broker by amqps:// unless it says so",
                cure,
            );
        }
        Self {
            mode: s.get("mode", "\"rabbitmq\" or \"off\""),
            url,
            ca_pem,
            exchange: s.get("exchange", "an exchange's name"),
            unrouted: s.get("unrouted", "an exchange's and queue's name"),
            unrouted_max_bytes: s.number("unrouted_max_bytes", 1 << 20..=10 << 30),
        }
    }
}

/// The authorities of `ca_file`.
pub(super) fn ca_pem(s: &mut Section<'_>) -> Option<String> {
    let path: std::path::PathBuf = s.optional("ca_file", "the path of a PEM file")?;
    match std::fs::read_to_string(&path) {
        Ok(pem) if pem.contains("-----BEGIN CERTIFICATE-----") => Some(pem),
        Ok(_) => {
            s.fail("ca_file", "holds no certificate in PEM", "give a file with -----BEGIN CERTIFICATE-----");
            None
        }
        Err(error) => {
            s.fail(
                "ca_file",
                &format!("cannot be read: {error}"),
                "give the path of a PEM file that this user may read",
            );
            None
        }
    }
}
