//! How an attempt fails: whether another may help, and what the job's row says. Mapped here once from what engines,
//! streams, stores and the database report.

use std::time::Duration;

use chrono::Utc;
use shared::{db::DbError, job::Problem};

use crate::{
    context::TargetError,
    engine::{EngineError, ErrorCode},
    record::manifests::ManifestError,
    store::{Fault, StoreError},
    stream::{CryptError, StreamError},
};

/// Why a handler gave up.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("{}", .0.message)]
    Retry(Problem),
    #[error("{}", .0.message)]
    Abort(Problem),
    /// The lease was stopped: the runner knows why.
    #[error("the job was stopped")]
    Stopped,
}

impl JobError {
    pub fn abort(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Abort(Problem::permanent(code, message, hint))
    }

    /// What became of a step that may have been made is not known: somebody has to look.
    pub fn unknown(message: impl Into<String>) -> Self {
        Self::Retry(Problem::retryable(
            "outcome_unknown",
            message,
            "The job looks again by itself until the server answers.",
        ))
    }

    fn of(permanent: bool, code: &str, message: String, hint: &str) -> Self {
        if permanent {
            Self::Abort(Problem::permanent(code, message, hint))
        } else {
            Self::Retry(Problem::retryable(code, message, hint))
        }
    }
}

/// An error and its causes in one line, for a record that nobody follows `source()` of.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<EngineError> for JobError {
    fn from(error: EngineError) -> Self {
        if error.code() == ErrorCode::Cancelled {
            return Self::Stopped;
        }
        let mut message = chain(&error);
        if let Some(exit) = error.exit() {
            message = format!("{message} ({exit})");
        }
        if let Some(stderr) = error.stderr().map(str::trim).filter(|text| !text.is_empty()) {
            message.push_str("; it said: ");
            message.push_str(stderr);
        }
        Self::of(error.is_permanent(), error.code().as_str(), message, error.hint())
    }
}

impl From<StreamError> for JobError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Cancelled => Self::Stopped,
            error => Self::of(error.is_permanent(), error.code(), chain(&error), hint(error.code())),
        }
    }
}

impl From<CryptError> for JobError {
    fn from(error: CryptError) -> Self {
        StreamError::from(error).into()
    }
}

impl From<ManifestError> for JobError {
    fn from(error: ManifestError) -> Self {
        match error {
            ManifestError::Crypt(error) => error.into(),
            error => Self::of(true, error.code(), chain(&error), "Use another copy, or a newer version of Holdfast."),
        }
    }
}

impl From<StoreError> for JobError {
    fn from(error: StoreError) -> Self {
        if error.code() == "cancelled" {
            return Self::Stopped;
        }
        let failed = Self::of(error.is_permanent(), error.code(), chain(&error), hint(error.code()));
        match (failed, error.fault()) {
            (Self::Retry(problem), Fault::Locked { until }) => {
                Self::Retry(Problem { retry_after_s: Some(lock_delay(*until).as_secs()), ..problem })
            }
            (failed, _) => failed,
        }
    }
}

/// When a locked object is looked at again: a moment after its lock, but every day, as a lock can be shortened; every six
/// hours where nobody says how long it lasts.
fn lock_delay(until: Option<chrono::DateTime<Utc>>) -> Duration {
    const DAY: Duration = Duration::from_hours(24);
    let Some(until) = until else { return DAY / 4 };
    let left = (until - Utc::now()).to_std().unwrap_or_default();
    (left + Duration::from_mins(1)).min(DAY)
}

/// What to do about what streams and stores report.
fn hint(code: &str) -> &'static str {
    match code {
        "object_corrupt" | "object_missing" => {
            "Use another copy or another save, and verify this store: its bytes are not what was stored."
        }
        "store_full" => "Free space in the store, shorten the retention, or give the target another store.",
        "store_unreachable" => "Check that the store runs, that it is mounted, and that this worker may connect to it.",
        "store_denied" => "Give the worker's user the right to read and write in the store.",
        "store_missing" => "Create the bucket, or correct the store's bucket, endpoint and region.",
        "store_public" => "Take public access away from the bucket; set allow_public = true if it is meant.",
        "object_locked" => "Nothing: the deletion is tried again when the lock is over.",
        "foreign_installation" => "Correct the store's settings, or adopt the store if it has moved here.",
        "empty_or_bad_format" => "Check that the tool on this worker is the real one.",
        "identity_missing" => {
            "Give the worker stores.<name>.encryption.identity_file of one of the store's recipients, or restore on a worker that has it."
        }
        "identity_wrong" => {
            "Give the worker the identity of a recipient that the store had when the save was made (several may stand in the file)."
        }
        "store_lagging" => "Look at the store: it was too slow. Copy the save there once it is well.",
        "too_few_copies" => "Give the target as many stores as it requires copies.",
        "source_failed" | "sink_failed" => "Look at what the tool said in this worker's log.",
        "stage_died" => "This is a fault of Holdfast: report it with this worker's log.",
        _ => "Look at the store, and at this worker's log.",
    }
}

impl From<TargetError> for JobError {
    fn from(error: TargetError) -> Self {
        match error {
            TargetError::Db(error) => error.into(),
            TargetError::Unusable(..) => {
                Self::of(true, "target_unusable", chain(&error), "Correct the target or its server.")
            }
            TargetError::Credential { .. } => Self::of(
                true,
                "credential_unreadable",
                chain(&error),
                "Give this worker the private key that the credential was sealed to, or store the credential again.",
            ),
        }
    }
}

impl From<DbError> for JobError {
    fn from(error: DbError) -> Self {
        Self::of(!error.is_transient(), "database_failed", chain(&error), "Look at Holdfast's own PostgreSQL.")
    }
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        DbError::from(error).into()
    }
}
