//! The names under which collections of ours stand in somebody's database: each tells its job, whose id nobody else has.

use shared::name::DatabaseName;
use uuid::Uuid;

use crate::engine::{EngineError, ErrorCode, SessionTag};

/// What all of them begin with. A dump leaves them out.
pub const PREFIX: &str = "__hf_";

const ASIDE: &str = "__hf_old_";
const SERIES: &str = "__hf_ts_";

/// What a collection of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// It waits for its name, and belongs to that attempt of that job.
    Staged(SessionTag),
    /// It marks a time series that this attempt fills under its own name.
    Series(SessionTag),
    /// That job put it aside.
    Aside(Uuid),
}

impl Own {
    /// What the name says; None: it is none of ours.
    pub fn of(name: &str) -> Option<Self> {
        if let Some(rest) = name.strip_prefix(ASIDE) {
            let (job, index) = rest.split_once('_')?;
            // The second number: what an application made anew under the name, while names changed.
            let is_own = index.splitn(2, '_').all(is_index);
            return is_own.then_some(Self::Aside(id(job)?));
        }
        if let Some(rest) = name.strip_prefix(SERIES) {
            return attempt(rest).map(Self::Series);
        }
        attempt(name.strip_prefix(PREFIX)?).map(Self::Staged)
    }

    /// Of which attempt something is that it did not finish. None: it was put aside.
    pub fn attempt(self) -> Option<SessionTag> {
        match self {
            Self::Staged(tag) | Self::Series(tag) => Some(tag),
            Self::Aside(_) => None,
        }
    }
}

/// `<job>_<epoch>_<index>`.
fn attempt(text: &str) -> Option<SessionTag> {
    let mut parts = text.split('_');
    let (job, epoch, index) = (id(parts.next()?)?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_index(index) || !is_index(epoch) {
        return None;
    }
    Some(SessionTag { job, epoch: epoch.parse().ok()? })
}

/// Collection `index` of an attempt, while it waits: `__hf_<job>_<epoch>_<index>`.
pub fn staged(session: SessionTag, index: usize) -> String {
    format!("{PREFIX}{}_{}_{index}", session.job.simple(), session.epoch)
}

/// The marker of time series `index` of an attempt: `__hf_ts_<job>_<epoch>_<index>`.
pub fn series(session: SessionTag, index: usize) -> String {
    format!("{SERIES}{}_{}_{index}", session.job.simple(), session.epoch)
}

/// What all those names begin with.
pub fn staged_prefix(session: SessionTag) -> Result<DatabaseName, EngineError> {
    prefix(format!("{PREFIX}{}_{}", session.job.simple(), session.epoch))
}

/// What the names begin with under which a job puts something aside: `__hf_old_<job>`.
pub fn aside_prefix(job: Uuid) -> Result<DatabaseName, EngineError> {
    prefix(format!("{ASIDE}{}", job.simple()))
}

fn prefix(text: String) -> Result<DatabaseName, EngineError> {
    DatabaseName::parse(text).map_err(|error| EngineError::new(ErrorCode::Internal, error.to_string()))
}

/// Where collection `index` is put that has to make way: `__hf_old_<job>_<index>`.
pub fn aside(prefix: &DatabaseName, index: usize) -> String {
    format!("{prefix}_{index}")
}

/// The canonical form alone: what somebody else has made up is not taken for ours.
fn id(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.simple().to_string() == text).then_some(id)
}

fn is_index(text: &str) -> bool {
    !text.is_empty() && text.len() < 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_job_and_nothing_else_does() {
        let session = SessionTag { job: Uuid::now_v7(), epoch: 12 };
        assert_eq!(Own::of(&staged(session, 7)), Some(Own::Staged(session)));
        assert_eq!(Own::of(&series(session, 7)), Some(Own::Series(session)));
        let prefix = aside_prefix(session.job).unwrap();
        assert_eq!(Own::of(&aside(&prefix, 3)), Some(Own::Aside(session.job)));
        assert_eq!(Own::of(&format!("{}_0", aside(&prefix, 3))), Some(Own::Aside(session.job)));
        let job = session.job.simple().to_string();
        for other in [
            "lots".to_owned(),
            "__hf_".to_owned(),
            format!("__hf_{job}"),
            format!("__hf_{job}_1"),
            format!("__hf_{job}_1_x"),
            format!("__hf_{job}_1_2_3"),
            format!("__hf_ts_{job}_1"),
            format!("__hf_{}_1_2", job.to_uppercase()),
            format!("__hf_{}_1_2", session.job),
            format!("__hf_old_{job}"),
            format!("__hf_old_{job}_"),
            format!("__hf_old_{job}_1_2_3"),
            format!("x__hf_old_{job}_1"),
        ] {
            assert_eq!(Own::of(&other), None, "{other}");
        }
    }
}
