//! Jobs: what is asked of the workers. Payloads hold ids and choices, never data or secrets, and carry their version.

mod backup;
mod copy;
mod definitions;
mod delete;
mod discover;
mod expire;
mod gc;
mod import;
mod journal;
mod part;
mod preflight;
mod probe;
mod purge;
mod restore;
mod retention;
mod undo;
mod verify;
mod wipe;

use serde::{Deserialize, Serialize};

pub use backup::{BackupJob, TableName};
pub use copy::CopyJob;
pub use definitions::DefinitionsJob;
pub use delete::DeleteJob;
pub use discover::DiscoverJob;
pub use expire::ExpireJob;
pub use gc::GcJob;
pub use import::{ImportInto, ImportJob, NewDatabase};
pub use journal::{Emptied, Emptying, Given, Journal, Made, Move, Placed, Renames, Step, Swap, View, Waiting};
pub use part::{ExtensionPolicy, Part};
pub use preflight::PreflightJob;
pub use probe::ProbeJob;
pub use purge::PurgeJob;
pub use restore::{Compare, KEEP_OLD_S, Method, OwnerPolicy, PrivilegePolicy, RestoreJob};
pub use retention::RetentionJob;
pub use undo::UndoJob;
pub use verify::VerifyJob;
pub use wipe::{WIPE_LOCK_TIMEOUT_S, WipeJob};

/// What a job does, with what it needs to know. The tag is the job's kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Payload {
    Backup(BackupJob),
    Restore(RestoreJob),
    Undo(UndoJob),
    Expire(ExpireJob),
    Probe(ProbeJob),
    Preflight(PreflightJob),
    Delete(DeleteJob),
    Gc(GcJob),
    Verify(VerifyJob),
    Copy(CopyJob),
    Import(ImportJob),
    Discover(DiscoverJob),
    Retention(RetentionJob),
    Wipe(WipeJob),
    Purge(PurgeJob),
    Definitions(DefinitionsJob),
}

impl Payload {
    /// The kind, as it stands in `jobs.kind`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Undo(_) => "undo",
            Self::Expire(_) => "expire",
            Self::Probe(_) => "probe",
            Self::Preflight(_) => "preflight",
            Self::Delete(_) => "delete",
            Self::Gc(_) => "gc",
            Self::Verify(_) => "verify",
            Self::Copy(_) => "copy",
            Self::Import(_) => "import",
            Self::Discover(_) => "discover",
            Self::Retention(_) => "retention",
            Self::Wipe(_) => "wipe",
            Self::Purge(_) => "purge",
            Self::Definitions(_) => "definitions",
        }
    }
}

/// The life of a job (design §4). Terminal is terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "db", derive(sqlx::Type), sqlx(type_name = "text", rename_all = "snake_case"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobState {
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What went wrong, for people and programs: a stable code, what and where, what to do. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = JobProblem))]
pub struct Problem {
    /// Stable and machine-readable, such as `authentication_failed`.
    #[cfg_attr(feature = "openapi", schema(example = "authentication_failed"))]
    pub code: String,
    /// What happened, and where.
    #[cfg_attr(feature = "openapi", schema(example = "the server refused the password"))]
    pub message: String,
    /// What to do about it.
    #[cfg_attr(feature = "openapi", schema(example = "change the credential's password"))]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Whether another attempt may help.
    pub retryable: bool,
    /// Seconds before which no attempt can help. An attempt that ends so is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

impl Problem {
    #[must_use]
    pub fn permanent(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            hint: hint.into(),
            retryable: false,
            retry_after_s: None,
        }
    }

    #[must_use]
    pub fn retryable(code: &str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), hint: hint.into(), retryable: true, retry_after_s: None }
    }
}

/// How far a running job is; written to its row at most every second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    /// Raw bytes per second since the phase began.
    pub bytes_per_s: u64,
    /// What the server said the database's size is: an estimate of the raw bytes to come, not a promise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_bytes: Option<u64>,
    pub elapsed_ms: u64,
}
