//! The message broker of a service: where its management answers.

use serde::{Deserialize, Serialize};

use crate::name::HostName;

/// The most bytes of definitions that are kept: 4 MiB.
pub const MAX_DEFINITIONS: usize = 4 << 20;

/// The address of a broker's management, `http://host:port` or `https://host:port`, with a path where it is served under one. It
/// holds no user, no query and no fragment; at most 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "db", derive(sqlx::Type), sqlx(transparent))]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = "^https?://[^@?#\\s]+$", examples("https://broker.example.org:15671"))
)]
#[serde(try_from = "String", into = "String")]
pub struct ManagementUrl(String);

/// Why an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(&'static str);

impl ManagementUrl {
    /// Parses the text.
    pub fn parse(text: impl Into<String>) -> Result<Self, UrlError> {
        let text = text.into();
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let rest = rest.ok_or(UrlError("must begin with https:// or http://"))?;
        if text.len() > 512 {
            return Err(UrlError("is longer than 512 bytes"));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(UrlError("holds a user or a password: they belong into a credential"));
        }
        let (host, port) = place(authority);
        if HostName::parse(host).is_err() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(UrlError("names no host, or a port that is none"));
        }
        let plain = |part: &str| {
            !matches!(part, "." | "..") && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b))
        };
        if !path.split('/').all(plain) {
            return Err(UrlError("may have a path of letters, digits and . _ ~ - alone, without query and fragment"));
        }
        Ok(Self(text))
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is sent there can be read on its way.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.0.starts_with("http://")
    }
}

/// Host and port; an IPv6 address stands in brackets.
fn place(authority: &str) -> (&str, Option<&str>) {
    if let Some((host, after)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => ("", None),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    }
}

impl TryFrom<String> for ManagementUrl {
    type Error = UrlError;

    fn try_from(text: String) -> Result<Self, UrlError> {
        Self::parse(text)
    }
}

impl From<ManagementUrl> for String {
    fn from(url: ManagementUrl) -> Self {
        url.0
    }
}

/// Whether a name can stand in the management's paths: those of a path's own steps cannot, as whatever made the address would leave
/// them out, and it would name another thing.
#[must_use]
pub fn is_addressable(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && name.len() <= 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_nothing_else() {
        for good in [
            "http://127.0.0.1:15672",
            "https://broker.example.org",
            "https://broker.example.org:15671/",
            "http://[::1]:15672",
            "https://a/rabbit-1/mgmt",
        ] {
            assert!(ManagementUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "broker:15672",
            "amqp://broker",
            "http://",
            "http://a:b@c",
            "http://a@b",
            "http://a:99999",
            "http://a:x",
            "http://a/?x",
            "http://a/#x",
            "http://a/../b",
            "http://a b",
            "http://a/%2e",
            "http://[::1]x",
        ] {
            assert!(ManagementUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_steps_of_a_path_are_no_names() {
        assert!(is_addressable("a/b") && is_addressable("...") && is_addressable("%2e"));
        assert!(!is_addressable("") && !is_addressable(".") && !is_addressable(".."));
    }
}
