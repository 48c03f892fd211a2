//! `[auth]`: the keys and lives of tokens, and the second factor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretSlice};
use uuid::Uuid;

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
    /// The longest that an API token may live, in days.
    pub api_token_days: u32,
    /// The second factor; none: it is off.
    pub admin_ids: Option<AdminIds>,
}

/// The ids of which a request must carry one. They are secrets: `Debug` leaves them out.
#[derive(Clone)]
pub struct AdminIds {
    pub ids: BTreeSet<Uuid>,
    /// The file they came from, to be read again while the process runs.
    pub file: Option<PathBuf>,
}

impl fmt::Debug for AdminIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminIds").field("file", &self.file).finish_non_exhaustive()
    }
}

impl AdminIds {
    /// Reads UUIDs, one a line or with commas between them; `#` begins a comment. A set without any is an error, as is anything else
    /// in it: whoever made a mistake there shall not be let in by what is left. The error names the line and quotes nothing.
    pub fn parse(text: &str) -> Result<BTreeSet<Uuid>, String> {
        let mut ids = BTreeSet::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            for id in line.split(',').map(str::trim).filter(|id| !id.is_empty()) {
                ids.insert(Uuid::try_parse(id).map_err(|_| format!("line {} holds what is no UUID", number + 1))?);
            }
        }
        if ids.is_empty() { Err("it holds no UUID".to_owned()) } else { Ok(ids) }
    }

    fn read(s: &mut Section<'_>) -> Option<Self> {
        let text = s.secret("admin_ids")?;
        match Self::parse(text.expose_secret()) {
            Ok(ids) => Some(Self { ids, file: s.secret_file("admin_ids") }),
            Err(problem) => {
                s.fail("admin_ids", &problem, "give random UUIDs, one a line (`uuidgen --random`)");
                None
            }
        }
    }
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
            api_token_days: u32::try_from(s.number("api_token_days", 1..=3650)).unwrap_or(365),
            admin_ids: AdminIds::read(s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_ids_with_a_mistake_in_it_is_none() {
        let (a, b) = ("6f8d7a52-0c47-4a7e-9a5c-3f6d2b1e8c90", "0b6ad9f4-3e0b-4f0e-8f0c-51f1c6f3c5d7");
        for (text, count) in [
            (format!("{a}\n"), 1),
            (format!("# old\n{a} # until May\r\n\n  {b}"), 2),
            (format!("{a}, {b},"), 2),
            (format!("{a}\n{a}\n"), 1),
        ] {
            assert_eq!(AdminIds::parse(&text).unwrap().len(), count, "{text:?}");
        }
        for (text, problem) in [
            (String::new(), "it holds no UUID"),
            (format!("# {a}\n,\n"), "it holds no UUID"),
            (format!("{a}\nplanted\n"), "line 2 holds what is no UUID"),
            (format!("{a} {b}"), "line 1 holds what is no UUID"),
        ] {
            assert_eq!(AdminIds::parse(&text).unwrap_err(), problem, "{text:?}");
        }
        let shown = format!("{:?}", AdminIds { ids: AdminIds::parse(a).unwrap(), file: None });
        assert!(!shown.contains(a), "{shown}");
    }
}
