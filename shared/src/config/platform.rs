//! `[platform]`: the platform's own identity service, through which its users are created.

use std::{net::IpAddr, time::Duration};

use secrecy::SecretString;

use super::{events::ca_pem, reader::Section};

/// How the identity service is reached.
#[derive(Debug, Clone)]
pub struct Platform {
    /// Where a user is created by POST; none: this installation creates none.
    pub url: Option<String>,
    /// Sent as a bearer token.
    pub token: Option<SecretString>,
    /// PEM of whom to trust beside the system's own authorities.
    pub ca_pem: Option<String>,
    /// For one user, all attempts and pauses together.
    pub timeout: Duration,
    /// How often is asked at most, where nothing can have come of it.
    pub attempts: u32,
}

impl Platform {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let url: Option<String> = s.optional("url", "https://identity.example.org/v1/users");
        let url = url.filter(|url| match check(url) {
            Ok(()) => true,
            Err(problem) => {
                s.fail("url", problem, "give https://host/path, or http:// to this machine's own loopback");
                false
            }
        });
        Self {
            url,
            token: s.secret("token"),
            ca_pem: ca_pem(s),
            timeout: s.seconds("timeout_s", 0.1..=120.0),
            attempts: u32::try_from(s.number("attempts", 1..=10)).unwrap_or(3),
        }
    }
}

/// The token and the new user's password go there: never in the clear through a network.
fn check(url: &str) -> Result<(), &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("is not a URL")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if url.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#') || authority.is_empty() {
        return Err("is not a URL of a service");
    }
    if authority.contains('@') {
        return Err("holds a user or a password: they belong into platform.token");
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => Err("goes through the network in the clear"),
        _ => Err("is neither https:// nor http://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_in_the_clear_to_this_machine_alone() {
        for good in ["https://id.example.org/users", "http://127.0.0.1:81/u?x=1", "http://[::1]/", "http://localhost"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "id.example.org",
            "http://id.example.org/",
            "http://127.0.0.1.example.org/",
            "http://localhost@example.org/",
            "https://a:b@example.org/",
            "ftp://localhost/",
            "https://",
            "https:///users",
            "https://a b/",
            "https://a/#x",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
