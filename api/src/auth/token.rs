//! Access tokens: HS256 and nothing else, every claim required, unknown fields refused (guarantees §4.2, RFC 8725).

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::{
    config::{Auth, Mode},
    id::{AdminId, SessionId},
};

use crate::error::ApiError;

const LEEWAY_S: i64 = 30;
const MAX_BYTES: usize = 4096;
const TYP: &str = "at+jwt";

/// A token that is not accepted. It does not say why: all refusals look the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct BadToken;

// Derived `Deserialize` refuses duplicate fields, `deny_unknown_fields` everything else, `crit` and `jku` among it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// What a token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub sub: AdminId,
    pub exp: i64,
    pub nbf: i64,
    pub iat: i64,
    pub jti: uuid::Uuid,
    pub sid: SessionId,
    /// The admin's token version under which it was issued.
    pub ver: i32,
}

/// Whom a token is for.
#[derive(Debug, Clone, Copy)]
pub struct Subject {
    pub admin: AdminId,
    pub session: SessionId,
    pub version: i32,
}

struct Key {
    sign: EncodingKey,
    verify: DecodingKey,
}

/// Issues and verifies. Clones share the keys.
#[derive(Clone)]
pub struct Tokens {
    keys: Arc<BTreeMap<String, Key>>,
    active: Arc<str>,
    issuer: Arc<str>,
    audience: Arc<str>,
    life: Duration,
    renews: bool,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("keys", &self.keys.keys()).finish_non_exhaustive()
    }
}

impl Tokens {
    /// The ring of the configuration. `prod` renews tokens as they are used; `dev` issues long ones.
    #[must_use]
    pub fn new(auth: &Auth, mode: Mode) -> Self {
        let keys = auth.keys.iter().map(|(kid, secret)| {
            let secret = secret.expose_secret();
            (kid.clone(), Key { sign: EncodingKey::from_secret(secret), verify: DecodingKey::from_secret(secret) })
        });
        Self {
            keys: Arc::new(keys.collect()),
            active: auth.active_key.as_deref().unwrap_or_default().into(),
            issuer: auth.issuer.as_str().into(),
            audience: auth.audience.as_str().into(),
            life: if mode == Mode::Prod { auth.access } else { auth.dev_access },
            renews: mode == Mode::Prod,
        }
    }

    /// Whether an authenticated call is answered with a new token.
    #[must_use]
    pub fn renews(&self) -> bool {
        self.renews
    }

    /// A token of this moment (Unix seconds) and when it ends: never after the session.
    pub fn issue(&self, subject: Subject, now: i64, session_end: i64) -> Result<(String, i64), ApiError> {
        let exp = (now + i64::try_from(self.life.as_secs()).unwrap_or(900)).min(session_end);
        let claims = Claims {
            iss: self.issuer.to_string(),
            aud: self.audience.to_string(),
            sub: subject.admin,
            exp,
            nbf: now,
            iat: now,
            jti: uuid::Uuid::now_v7(),
            sid: subject.session,
            ver: subject.version,
        };
        let header = Header { alg: "HS256".into(), typ: TYP.into(), kid: self.active.to_string() };
        let internal = |e: &dyn fmt::Display| ApiError::Internal(format!("no token was issued: {e}").into());
        let key = self.keys.get(&*self.active).ok_or_else(|| internal(&"the active key is not in the ring"))?;
        let part = |json: Result<Vec<u8>, serde_json::Error>| {
            json.map(|j| URL_SAFE_NO_PAD.encode(j)).map_err(|e| internal(&e))
        };
        let message = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(&claims))?);
        let signature = crypto::sign(message.as_bytes(), &key.sign, Algorithm::HS256).map_err(|e| internal(&e))?;
        Ok((format!("{message}.{signature}"), exp))
    }

    /// Accepts a token or refuses it without a reason.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, BadToken> {
        if token.len() > MAX_BYTES {
            return Err(BadToken);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(BadToken)?;
        let (header_part, claims_part) = message.split_once('.').ok_or(BadToken)?;
        let header: Header = part(header_part)?;
        if header.alg != "HS256" || header.typ != TYP {
            return Err(BadToken);
        }
        let key = self.keys.get(&header.kid).ok_or(BadToken)?;
        // The algorithm is ours, never the header's.
        let good = crypto::verify(signature, message.as_bytes(), &key.verify, Algorithm::HS256);
        if !good.unwrap_or(false) {
            return Err(BadToken);
        }
        let claims: Claims = part(claims_part)?;
        let in_time = claims.exp > now - LEEWAY_S
            && claims.nbf <= now + LEEWAY_S
            && claims.iat <= now + LEEWAY_S
            && claims.iat <= claims.exp;
        let ours = claims.iss == *self.issuer && claims.aud == *self.audience;
        if in_time && ours { Ok(claims) } else { Err(BadToken) }
    }
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, BadToken> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken)?;
    serde_json::from_slice(&bytes).map_err(|_| BadToken)
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
