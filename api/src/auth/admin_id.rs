//! The second factor `admin-id`: where it is on, nothing under `/v1` is looked at without one of a set of UUIDs in that
//! header. The set may stand in a file that is changed while the API runs. What cannot be read admits nobody.

use std::{
    collections::BTreeSet,
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::http::{HeaderMap, Method};
use ring::{
    hmac::{self, HMAC_SHA256},
    rand::{SecureRandom, SystemRandom},
};
use shared::config;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The header.
pub const HEADER: &str = "admin-id";

/// How often the file is read. With [`PATIENCE`] a change acts within five seconds, be it that the file cannot be read any more.
const EVERY: Duration = Duration::from_secs(1);
/// How long a reading may take before the set counts as unreadable.
const PATIENCE: Duration = Duration::from_secs(3);
const MAX_BYTES: u64 = 64 << 10;

/// Why nobody is admitted.
type Problem = String;

/// The set that holds now. Clones share it; without a configuration it admits everybody.
#[derive(Clone)]
pub struct AdminIds(Option<Arc<Inner>>);

struct Inner {
    /// Of this process alone: comparing under it takes the same time whatever is presented.
    key: hmac::Key,
    current: RwLock<Result<Vec<hmac::Tag>, Problem>>,
    file: Option<PathBuf>,
}

impl fmt::Debug for AdminIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminIds").field("on", &self.0.is_some()).finish_non_exhaustive()
    }
}

impl AdminIds {
    /// The set of the configuration; none: the factor is off.
    pub fn new(config: Option<&config::AdminIds>) -> Result<Self, ring::error::Unspecified> {
        let Some(config) = config else { return Ok(Self(None)) };
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key)?;
        let key = hmac::Key::new(HMAC_SHA256, &key);
        let current = RwLock::new(Ok(tags(&key, &config.ids)));
        Ok(Self(Some(Arc::new(Inner { key, current, file: config.file.clone() }))))
    }

    /// Whether a request for this path may go on: the factor is off, the path is not of the API, or exactly one current id
    /// is given. `OPTIONS` does nothing and a browser sends it without headers, so it may.
    #[must_use]
    pub fn admits(&self, method: &Method, path: &str, headers: &HeaderMap) -> bool {
        let Some(inner) = &self.0 else { return true };
        if !(path == "/v1" || path.starts_with("/v1/")) || method == Method::OPTIONS {
            return true;
        }
        let mut given = headers.get_all(HEADER).iter();
        let (Some(id), None) = (given.next(), given.next()) else { return false };
        let Some(id) = id.to_str().ok().and_then(|text| Uuid::try_parse(text).ok()) else { return false };
        let current = inner.current.read().unwrap_or_else(PoisonError::into_inner);
        // All of them, also after a hit.
        current.as_ref().is_ok_and(|tags| {
            tags.iter().filter(|tag| hmac::verify(&inner.key, id.as_bytes(), tag.as_ref()).is_ok()).count() > 0
        })
    }

    /// For readiness: none where the factor is off, else whether the set can be used.
    #[must_use]
    pub fn readiness(&self) -> Option<Result<(), Problem>> {
        let inner = self.0.as_ref()?;
        let current = inner.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.as_ref().map(drop).map_err(Clone::clone))
    }

    /// Reads the file again and again until `cancel`. Without a file it ends at once.
    pub async fn follow(self, cancel: CancellationToken) {
        let Some(inner) = self.0 else { return };
        let Some(file) = inner.file.clone() else { return };
        let mut before = None;
        while cancel.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            let path = file.clone();
            let mut reading = tokio::task::spawn_blocking(move || read(&path));
            let read = if let Ok(read) = tokio::time::timeout(PATIENCE, &mut reading).await {
                read
            } else {
                inner.replace(&mut before, &file, Err("it cannot be read in time".to_owned()));
                // No other one beside it: each holds a thread.
                let Some(read) = cancel.run_until_cancelled(reading).await else { return };
                read
            };
            let read = read.unwrap_or_else(|_| Err("reading it was interrupted".to_owned()));
            inner.replace(&mut before, &file, read);
        }
    }
}

impl Inner {
    /// Makes what was read the set that holds, and says so where it differs from what was read before.
    fn replace(
        &self,
        before: &mut Option<Result<BTreeSet<Uuid>, Problem>>,
        file: &Path,
        read: Result<BTreeSet<Uuid>, Problem>,
    ) {
        if before.as_ref() == Some(&read) {
            return;
        }
        let file = file.display();
        match &read {
            Ok(ids) => tracing::info!(%file, ids = ids.len(), "admin ids read"),
            Err(problem) => tracing::error!(%file, problem, "admin ids cannot be used: nobody is admitted"),
        }
        let tags = read.as_ref().map(|ids| tags(&self.key, ids)).map_err(Clone::clone);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = tags;
        *before = Some(read);
    }
}

fn tags(key: &hmac::Key, ids: &BTreeSet<Uuid>) -> Vec<hmac::Tag> {
    ids.iter().map(|id| hmac::sign(key, id.as_bytes())).collect()
}

fn read(file: &Path) -> Result<BTreeSet<Uuid>, Problem> {
    let mut text = String::new();
    let open = std::fs::File::open(file).map_err(|error| error.to_string())?;
    open.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    config::AdminIds::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "6f8d7a52-0c47-4a7e-9a5c-3f6d2b1e8c90";
    const SECOND: &str = "0b6ad9f4-3e0b-4f0e-8f0c-51f1c6f3c5d7";

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (HEADER.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn one_of_the_set_and_nothing_else_is_admitted() {
        let ids = config::AdminIds::parse(&format!("{FIRST}\n{SECOND}\n")).unwrap();
        let ids = AdminIds::new(Some(&config::AdminIds { ids, file: None })).unwrap();
        let admits = |path: &str, values: &[&str]| ids.admits(&Method::GET, path, &headers(values));
        for good in [FIRST, SECOND, &FIRST.to_uppercase(), &FIRST.replace('-', "")] {
            assert!(admits("/v1/jobs", &[good]), "{good}");
        }
        let nobody = Uuid::nil().to_string();
        let wrong: [&[&str]; 7] = [
            &[],
            &[""],
            &["x"],
            &[nobody.as_str()],
            &[FIRST, FIRST],
            &[FIRST, SECOND],
            &["6f8d7a52-0c47-4a7e-9a5c-3f6d2b1e8c9"],
        ];
        for values in wrong {
            assert!(!admits("/v1/jobs", values) && !admits("/v1", values), "{values:?}");
            assert!(admits("/healthz", values) && admits("/v1x", values));
        }
        assert!(ids.admits(&Method::OPTIONS, "/v1/jobs", &headers(&[])));
        assert!(AdminIds::new(None).unwrap().admits(&Method::GET, "/v1/jobs", &headers(&[])));
    }
}
