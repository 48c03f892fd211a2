//! Who was looked up just now. A page that asks for twenty things asks twenty times who its admin is: reads believe the
//! answer for [`BELIEVED`], changes never do. A change to admins or logins empties it, so that only another process of
//! the API could believe what is no longer so, and no longer than that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use shared::{db::sessions::LiveSession, id::SessionId};

/// How long. Guarantee G3 allows five seconds.
pub const BELIEVED: Duration = Duration::from_secs(1);
/// Of how many sessions; beyond it the others are looked up each time.
const MOST: usize = 10_000;

/// When a session was looked up, and how it stood.
type Seen = (Instant, Arc<LiveSession>);

/// Live sessions and when they were looked up. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<Mutex<HashMap<SessionId, Seen>>>);

impl Known {
    /// The session, if it was looked up less than [`BELIEVED`] ago and has not come to its end since.
    #[must_use]
    pub fn get(&self, id: SessionId, now: Instant, time: DateTime<Utc>) -> Option<Arc<LiveSession>> {
        let sessions = self.lock();
        let (at, session) = sessions.get(&id)?;
        (now.saturating_duration_since(*at) < BELIEVED && session.expires_at > time).then(|| session.clone())
    }

    /// Notes a session that was looked up at `now`.
    pub fn put(&self, id: SessionId, session: Arc<LiveSession>, now: Instant) {
        let mut sessions = self.lock();
        if sessions.len() >= MOST {
            sessions.retain(|_, (at, _)| now.saturating_duration_since(*at) < BELIEVED);
        }
        if sessions.len() < MOST {
            sessions.insert(id, (now, session));
        }
    }

    /// Forgets everybody: somebody may be somebody else now.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use shared::id::AdminId;
    use uuid::Uuid;

    use super::*;

    fn session(expires_at: DateTime<Utc>) -> Arc<LiveSession> {
        let admin_id = AdminId(Uuid::nil());
        Arc::new(LiveSession {
            admin_id,
            admin_name: "a".into(),
            token_version: 1,
            jobs_per_day: None,
            expires_at,
            roles: Vec::new(),
        })
    }

    #[test]
    fn a_session_is_known_for_a_second_and_not_beyond_its_end() {
        let (known, start, time) = (Known::default(), Instant::now(), DateTime::UNIX_EPOCH);
        let (id, short) = (SessionId(Uuid::from_u128(1)), SessionId(Uuid::from_u128(2)));
        let half = BELIEVED / 2;
        known.put(id, session(time + chrono::TimeDelta::hours(1)), start);
        known.put(short, session(time + half), start);
        assert!(known.get(id, start + half, time + half).is_some());
        assert!(known.get(id, start + BELIEVED, time + BELIEVED).is_none());
        assert!(known.get(short, start, time).is_some());
        assert!(known.get(short, start + half, time + half).is_none());
        known.forget();
        assert!(known.get(id, start, time).is_none());
    }

    #[test]
    fn it_holds_so_many_and_makes_room_for_new_ones() {
        let (known, start, time) = (Known::default(), Instant::now(), DateTime::UNIX_EPOCH);
        let later = time + chrono::TimeDelta::hours(1);
        let id = |n: usize| SessionId(Uuid::from_u128(n as u128));
        for n in 0..=MOST {
            known.put(id(n), session(later), start);
        }
        assert!(known.get(id(MOST - 1), start, time).is_some());
        assert!(known.get(id(MOST), start, time).is_none(), "one too many");
        known.put(id(MOST), session(later), start + BELIEVED);
        assert!(known.get(id(MOST), start + BELIEVED, time).is_some(), "the old ones went");
    }
}
