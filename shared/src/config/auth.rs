//! `[auth]`: the keys and lives of access tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretSlice};

use super::reader::Section;
use crate::name::Slug;

/// How access tokens are signed and how long they live.
#[derive(Debug)]
pub struct Auth {
    /// HS256 keys by key id: decoded, at least 32 bytes each. All are accepted.
    pub keys: BTreeMap<String, SecretSlice<u8>>,
    /// The key id that signs; always one of `keys`.
    pub active_key: Option<String>,
    pub issuer: String,
    pub audience: String,
    /// Life of an access token in prod.
    pub access: Duration,
    /// Life of an access token in dev.
    pub dev_access: Duration,
    /// Absolute life of a login.
    pub session: Duration,
}

impl Auth {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        let mut keys = BTreeMap::new();
        let mut table = s.table("keys");
        for kid in table.names() {
            let Some(text) = table.secret(&kid) else { continue };
            if let Err(error) = Slug::parse(kid.clone()) {
                table.fail(&kid, &error.to_string(), "rename the key");
            }
            match URL_SAFE_NO_PAD.decode(text.expose_secret().trim().trim_end_matches('=')) {
                Ok(bytes) if bytes.len() >= 32 => {
                    keys.insert(kid, SecretSlice::from(bytes));
                }
                Ok(bytes) => {
                    table.fail(&kid, &format!("is {} bytes long", bytes.len()), "give at least 32 random bytes");
                }
                Err(_) => table.fail(&kid, "is not base64url", "make one by `openssl rand -base64 48 | tr '+/' '-_'`"),
            }
        }
        Self {
            keys,
            active_key: s.optional("active_key", "the id of one of auth.keys"),
            issuer: s.get("issuer", "text"),
            audience: s.get("audience", "text"),
            access: Duration::from_secs(60 * s.number("access_minutes", 1..=1440)),
            dev_access: Duration::from_secs(3600 * s.number("dev_access_hours", 1..=720)),
            session: Duration::from_secs(3600 * s.number("session_hours", 1..=720)),
        }
    }
}
