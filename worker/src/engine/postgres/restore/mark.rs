//! How a database says that it is ours: the name it is restored under, and the line in its comment.

use std::fmt;

use shared::name::DatabaseName;
use uuid::Uuid;

use super::super::super::{Connection, EngineError, ErrorCode, SessionTag};

/// `PostgreSQL`'s bound on names (NAMEDATALEN − 1).
const NAME_BYTES: usize = 63;

/// How far a restore has come, as its database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It stands under its staging name and may be dropped by its own job.
    Restoring,
    /// It stands under the name that was asked for, whole. Nothing drops it any more.
    Restored,
    /// It had the name that another has now, and is kept until its time is over.
    Kept,
}

/// The last line of a database's comment: which attempt of which job of which installation made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) stage: Stage,
    pub(super) installation: Uuid,
    pub(super) session: SessionTag,
}

impl Mark {
    pub(super) fn of(at: &Connection, stage: Stage) -> Self {
        Self { stage, installation: at.installation, session: at.session }
    }

    /// The mark in a comment, if its last line is one.
    pub(super) fn find(comment: &str) -> Option<Self> {
        let line = comment.rsplit('\n').next()?;
        let (stage, rest) = [Stage::Restoring, Stage::Restored, Stage::Kept]
            .into_iter()
            .find_map(|stage| Some((stage, line.strip_prefix(stage.words())?)))?;
        let mut parts = rest.split(", ");
        let installation = parts.next()?.strip_prefix("installation ")?.parse().ok()?;
        let job = parts.next()?.strip_prefix("job ")?.parse().ok()?;
        let epoch = parts.next()?.strip_prefix("epoch ")?.parse().ok()?;
        parts.next().is_none().then_some(Self { stage, installation, session: SessionTag { job, epoch } })
    }

    /// Whether an attempt of this job made it.
    pub(super) fn is_of(&self, installation: Uuid, job: Uuid) -> bool {
        self.installation == installation && self.session.job == job
    }
}

impl Stage {
    fn words(self) -> &'static str {
        match self {
            Self::Restoring => "holdfast: being restored, ",
            Self::Restored => "holdfast: restored, ",
            Self::Kept => "holdfast: kept, ",
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, installation, session: SessionTag { job, epoch } } = self;
        write!(f, "{}installation {installation}, job {job}, epoch {epoch}", stage.words())
    }
}

/// A comment without our line: what the operator wrote. A save keeps this alone, so that marks do not pile up.
pub(in super::super) fn without_mark(comment: &str) -> Option<String> {
    let text = match Mark::find(comment) {
        None => comment,
        Some(_) => comment.rsplit_once('\n').map_or("", |(before, _)| before),
    };
    let text = text.trim_end_matches('\n');
    (!text.is_empty()).then(|| text.to_owned())
}

/// The comment of a database that is whole: the save's own and the lasting mark.
pub(in super::super) fn restored_comment(at: &Connection, comment: Option<&str>) -> String {
    with_mark(comment, Mark::of(at, Stage::Restored))
}

/// The comment of a database that makes way: its own and the mark that it is kept.
pub(in super::super) fn kept_comment(at: &Connection, comment: Option<&str>) -> String {
    with_mark(comment.and_then(without_mark).as_deref(), Mark::of(at, Stage::Kept))
}

fn with_mark(comment: Option<&str>, mark: Mark) -> String {
    comment.map_or_else(|| mark.to_string(), |comment| format!("{comment}\n\n{mark}"))
}

/// Databases that were put aside.
#[derive(Debug)]
pub(in super::super) struct Kept;

impl Kept {
    /// Whether a comment says that this job of this installation put the database aside.
    pub(in super::super) fn says(comment: Option<&str>, installation: Uuid, job: Uuid) -> bool {
        let mark = comment.and_then(Mark::find);
        mark.is_some_and(|mark| mark.stage == Stage::Kept && mark.is_of(installation, job))
    }
}

/// `<database>__hf_old_<job>`, the front cut to what fits: the name of a database that `job` puts aside.
pub(in super::super) fn kept_name(database: &DatabaseName, job: Uuid) -> Result<DatabaseName, EngineError> {
    fitted(database, &format!("__hf_old_{}", job.simple()))
}

/// `<wanted>__hf_<job>_<epoch>`, the front cut to what fits. The job's id is random: nobody else means this name.
pub(super) fn staging_name(wanted: &DatabaseName, session: SessionTag) -> Result<DatabaseName, EngineError> {
    fitted(wanted, &format!("{}{}", staging_infix(session.job), session.epoch))
}

fn fitted(name: &DatabaseName, tail: &str) -> Result<DatabaseName, EngineError> {
    let front = name.as_str();
    let front = &front[..front.floor_char_boundary(NAME_BYTES.saturating_sub(tail.len()))];
    DatabaseName::parse(format!("{front}{tail}"))
        .map_err(|error| EngineError::new(ErrorCode::InvalidRequest, error.to_string()))
}

/// What the staging names of all attempts of a job have in common.
pub(super) fn staging_infix(job: Uuid) -> String {
    format!("__hf_{}_", job.simple())
}

/// The epoch at the end of a staging name of this job.
pub(super) fn staging_epoch(name: &str, job: Uuid) -> Option<i64> {
    name.rsplit_once(&staging_infix(job))?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(stage: Stage) -> Mark {
        Mark { stage, installation: Uuid::now_v7(), session: SessionTag { job: Uuid::now_v7(), epoch: 7 } }
    }

    #[test]
    fn a_mark_is_found_again_below_any_comment() {
        for stage in [Stage::Restoring, Stage::Restored, Stage::Kept] {
            let mark = mark(stage);
            for comment in [mark.to_string(), format!("the auction's\ndatabase\n\n{mark}")] {
                assert_eq!(Mark::find(&comment), Some(mark), "{comment}");
            }
            assert_eq!(without_mark(&format!("a\nb\n\n{mark}")).as_deref(), Some("a\nb"));
            assert_eq!(without_mark(&mark.to_string()), None);
        }
        assert_eq!(without_mark("plain").as_deref(), Some("plain"));
    }

    #[test]
    fn what_is_not_wholly_a_mark_is_none() {
        let text = mark(Stage::Restoring).to_string();
        let cut = &text[..text.len() - 1];
        for other in [cut, "holdfast: being restored", &format!("{text}, more"), &format!("{text}\nmore"), ""] {
            assert_eq!(Mark::find(other), None, "{other}");
        }
    }

    #[test]
    fn staging_names_fit_and_tell_their_attempt() {
        let session = SessionTag { job: Uuid::now_v7(), epoch: 12 };
        for wanted in ["a".to_owned(), "ü".repeat(31), "x".repeat(63), "=' \"\n".to_owned()] {
            let wanted = DatabaseName::parse(wanted).unwrap();
            let name = staging_name(&wanted, session).unwrap();
            assert!(name.as_str().len() <= NAME_BYTES && name != wanted, "{name}");
            assert_eq!(staging_epoch(name.as_str(), session.job), Some(12));
            assert_eq!(staging_epoch(name.as_str(), Uuid::now_v7()), None);
        }
        let last =
            staging_name(&DatabaseName::parse("shop").unwrap(), SessionTag { epoch: i64::MAX, ..session }).unwrap();
        assert!(last.as_str().starts_with("shop__hf_"), "{last}");
    }
}
