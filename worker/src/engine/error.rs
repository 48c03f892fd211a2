//! What can go wrong between a worker and a target: a stable code, whether another attempt can help, and what to do.

use std::fmt;

/// The stable part of an [`EngineError`]: it stands in job records, events and documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    AuthenticationFailed,
    ServerUnreachable,
    TooManyConnections,
    ConnectionLost,
    DatabaseMissing,
    DatabaseExists,
    DatabaseInUse,
    DatabaseClosed,
    RoleMissing,
    TableMissing,
    ExtensionMissing,
    PermissionDenied,
    LockTimeout,
    QueryCancelled,
    DiskFull,
    ClientTooOld,
    TlsFailed,
    RestoreIncompatible,
    RestoreConflict,
    TableNotInSave,
    TablesNotEmpty,
    DependentObjects,
    RowsDoNotMatch,
    SqlFailed,
    SqlCommits,
    SqlMetaCommand,
    CollectionExists,
    CollectionUnsupported,
    DuplicateKeys,
    InventoryMismatch,
    OutcomeUnknown,
    TargetChanged,
    InvalidRequest,
    ToolNotStarted,
    ToolFailed,
    ToolKilled,
    EmptyOrBadFormat,
    Cancelled,
    QueryFailed,
    Internal,
}

impl ErrorCode {
    /// The code as it is stored and published.
    pub fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// True if the same attempt would fail again until a person changes something.
    pub fn is_permanent(self) -> bool {
        self.facts().1
    }

    /// What the operator can do.
    pub fn hint(self) -> &'static str {
        self.facts().2
    }

    #[expect(clippy::too_many_lines, reason = "a table: one line or two for each code")]
    fn facts(self) -> (&'static str, bool, &'static str) {
        match self {
            Self::AuthenticationFailed => (
                "authentication_failed",
                true,
                "check user and password of the credential, and the server's pg_hba.conf",
            ),
            Self::ServerUnreachable => (
                "server_unreachable",
                false,
                "check that the server runs and that this worker reaches its host and port",
            ),
            Self::TooManyConnections => {
                ("too_many_connections", false, "free connections on the server, or lower max_jobs of the server")
            }
            Self::ConnectionLost => ("connection_lost", false, "see the server's log for why the session ended"),
            Self::DatabaseMissing => ("database_missing", true, "check the target's database name"),
            Self::DatabaseExists => {
                ("database_exists", true, "choose another name, or drop or rename the database that is there")
            }
            Self::DatabaseInUse => ("database_in_use", false, "end the sessions that are connected to the database"),
            Self::DatabaseClosed => (
                "database_closed",
                true,
                "the database takes no connections: ALTER DATABASE ... ALLOW_CONNECTIONS true, or finish its interrupted DROP",
            ),
            Self::RoleMissing => (
                "role_missing",
                true,
                "create the role (the save's globals hold it), or restore with owner none and privileges none",
            ),
            Self::TableMissing => {
                ("table_missing", true, "check the tables asked for: names are literal and case-sensitive")
            }
            Self::ExtensionMissing => ("extension_missing", true, "install the extension's package on the server"),
            Self::PermissionDenied => (
                "permission_denied",
                true,
                "grant the role what it lacks (for a dump: CONNECT and pg_read_all_data; row security: BYPASSRLS; for a restore: CREATEDB, and membership in the roles it sets, else owner none and privileges none)",
            ),
            Self::LockTimeout => {
                ("lock_timeout", false, "another session holds a lock that conflicts, try when it has ended")
            }
            Self::QueryCancelled => (
                "query_cancelled",
                false,
                "somebody cancelled the statement on the server; on a standby, replication does (max_standby_streaming_delay)",
            ),
            Self::DiskFull => ("disk_full", false, "free space on the database server"),
            Self::ClientTooOld => {
                ("client_too_old", true, "install the PostgreSQL client package of that major version or above")
            }
            Self::TlsFailed => ("tls_failed", true, "check the server's TLS mode, CA certificate and host name"),
            Self::RestoreIncompatible => {
                ("restore_incompatible", true, "restore into a server of the major version of the save or above")
            }
            Self::RestoreConflict => {
                ("restore_conflict", true, "what the save creates exists there already: restore into an empty database")
            }
            Self::TableNotInSave => (
                "table_not_in_save",
                true,
                "check schema and name, which are literal and case-sensitive, against the save's list of contents",
            ),
            Self::TablesNotEmpty => {
                ("tables_not_empty", true, "empty the tables first, or restore with mode all, which replaces them")
            }
            Self::DependentObjects => (
                "dependent_objects",
                true,
                "drop them first and create them again afterwards, choose their tables too, or restore into another database",
            ),
            Self::RowsDoNotMatch => (
                "rows_do_not_match",
                true,
                "rows of other tables refer to rows that the save does not have, or the other way round: restore these tables together; nothing was changed",
            ),
            Self::SqlFailed => (
                "sql_failed",
                true,
                "see the server's own words; dump again with --no-owner and --no-privileges where roles are missing, and without --create",
            ),
            Self::SqlCommits => (
                "sql_commits",
                true,
                "all of it is one transaction here: take COMMIT and ROLLBACK out of the file; pg_dump writes them around large objects alone, so bring those as an archive (--format=custom), or leave them out (--no-blobs)",
            ),
            Self::SqlMetaCommand => (
                "sql_meta_command",
                true,
                "send the file as pg_dump wrote it, and without --create: commands with a backslash are not run",
            ),
            Self::CollectionExists => {
                ("collection_exists", true, "restore into a database that holds no such collection, or in place")
            }
            Self::CollectionUnsupported => {
                ("collection_unsupported", true, "restore the other collections by naming them")
            }
            Self::DuplicateKeys => (
                "duplicate_keys",
                true,
                "documents changed while they were dumped, and two of them have the same key of a unique index: choose another save",
            ),
            Self::InventoryMismatch => (
                "inventory_mismatch",
                true,
                "the bytes of the save were proven good, so look at the server and its log; the target is as it was",
            ),
            Self::OutcomeUnknown => (
                "outcome_unknown",
                true,
                "compare the tables with the save; empty them and restore again if they are not what it holds",
            ),
            Self::TargetChanged => (
                "target_changed",
                true,
                "somebody renamed, dropped or created a database meanwhile: look at the server and start again",
            ),
            Self::InvalidRequest => ("invalid_request", true, "change the request or the target's settings"),
            Self::ToolNotStarted => {
                ("tool_not_started", false, "check the worker's installation and its process limits")
            }
            Self::ToolFailed => ("tool_failed", false, "see the tool's own words"),
            Self::ToolKilled => ("tool_killed", false, "look for the out-of-memory killer, or for who sent the signal"),
            Self::EmptyOrBadFormat => {
                ("empty_or_bad_format", false, "check that the tool on this worker is the real one")
            }
            Self::Cancelled => ("cancelled", true, "nothing to do: it was asked for"),
            Self::QueryFailed => ("query_failed", false, "see the server's own words"),
            Self::Internal => ("internal", false, "see the worker's log"),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a tool ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(i32),
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A failure, without any secret in any of its texts.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    code: ErrorCode,
    message: String,
    hint: Option<String>,
    exit: Option<Exit>,
    stderr: Option<String>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl EngineError {
    /// An error of this kind; `message` says what failed.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, exit: None, stderr: None, source: None }
    }

    /// What was asked to stop, stopped.
    pub fn cancelled() -> Self {
        Self::new(ErrorCode::Cancelled, "stopped on request")
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub(crate) fn with_exit(mut self, exit: Exit, redacted_stderr: String) -> Self {
        self.exit = Some(exit);
        self.stderr = Some(redacted_stderr);
        self
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// True if another attempt cannot help before a person has changed something.
    pub fn is_permanent(&self) -> bool {
        self.code.is_permanent()
    }

    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What to do about it.
    pub fn hint(&self) -> &str {
        self.hint.as_deref().unwrap_or_else(|| self.code.hint())
    }

    /// How the tool ended, if it was a tool.
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// The last 4 KiB the tool wrote to stderr, redacted.
    pub fn stderr(&self) -> Option<&str> {
        self.stderr.as_deref()
    }
}
