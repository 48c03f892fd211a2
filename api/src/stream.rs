//! Answers that go on: how many an admin may have open, and whether the caller may still read them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{extract::FromRequestParts, http::request::Parts, response::sse::KeepAlive};
use shared::id::AdminId;
use tokio::time::Instant;

use crate::{auth::Identity, error::ApiError, state::AppState};

/// Streams of one admin at once.
pub const MOST_OF_ONE: usize = 8;
/// Streams of this process at once.
const MOST: usize = 1000;
/// How often a caller is looked at again: whoever is disabled, logged out or loses a role reads no further than this.
const AGAIN: Duration = Duration::from_secs(4);

/// The open streams.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<Mutex<HashMap<AdminId, usize>>>);

impl Streams {
    /// One more for this admin, until what is answered is dropped.
    pub fn open(&self, admin: AdminId) -> Result<Open, ApiError> {
        let mut open = self.lock();
        if open.values().sum::<usize>() >= MOST {
            return Err(ApiError::StreamsInUse { most: MOST });
        }
        let own = open.entry(admin).or_default();
        if *own >= MOST_OF_ONE {
            return Err(ApiError::StreamsInUse { most: MOST_OF_ONE });
        }
        *own += 1;
        Ok(Open { streams: self.clone(), admin })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AdminId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open stream; it is closed when this is dropped.
#[derive(Debug)]
pub struct Open {
    streams: Streams,
    admin: AdminId,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.streams.lock();
        if let Some(own) = open.get_mut(&self.admin) {
            *own -= 1;
            if *own == 0 {
                open.remove(&self.admin);
            }
        }
    }
}

/// A caller as it came in, so that it can be looked at again. A stream ends with the token that it was asked for with.
#[derive(Debug)]
pub struct Caller {
    parts: Parts,
    state: AppState,
    looked: Instant,
}

impl FromRequestParts<AppState> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        Ok(Self { parts: parts.clone(), state: state.clone(), looked: Instant::now() })
    }
}

impl Caller {
    /// Who it is by now, if it is time to look again.
    pub async fn again(&mut self) -> Result<Option<Identity>, ApiError> {
        if self.looked.elapsed() < AGAIN {
            return Ok(None);
        }
        let who = Identity::from_request_parts(&mut self.parts, &self.state).await?;
        self.looked = Instant::now();
        Ok(Some(who))
    }
}

/// Comments that keep proxies from taking a quiet stream for a dead one.
pub fn heartbeat() -> KeepAlive {
    KeepAlive::new().interval(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_has_so_many_streams_and_gets_them_back() {
        let (streams, admin) = (Streams::default(), AdminId::generate());
        let mut open: Vec<Open> = (0..MOST_OF_ONE).map(|_| streams.open(admin).unwrap()).collect();
        assert!(matches!(streams.open(admin), Err(ApiError::StreamsInUse { most: MOST_OF_ONE })));
        assert!(streams.open(AdminId::generate()).is_ok(), "another's are not counted");
        open.pop();
        open.push(streams.open(admin).unwrap());
        drop(open);
        assert!(streams.lock().is_empty());
    }
}
