//! The driver's errors in the engine's words.

use mongodb::error::{Error, ErrorKind, WriteFailure};

use crate::engine::{EngineError, ErrorCode};

const ROLES: &str =
    "give the restore credential's user the roles readWrite and dbAdmin on the database, or the role restore";

/// For `map_err`: what was being done, and why it failed.
pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(Error) -> EngineError {
    let doing = doing.into();
    move |error| of_driver(&doing, error)
}

fn of_driver(doing: &str, error: Error) -> EngineError {
    let code = match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => ErrorCode::AuthenticationFailed,
        ErrorKind::ServerSelection { .. } | ErrorKind::DnsResolve { .. } => ErrorCode::ServerUnreachable,
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::Shutdown => ErrorCode::ConnectionLost,
        ErrorKind::Command(command) => by_code(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => by_code(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => by_code(concern.code),
        _ => ErrorCode::QueryFailed,
    };
    let failed = EngineError::new(code, format!("{doing} failed")).with_source(error);
    match code {
        ErrorCode::PermissionDenied => failed.with_hint(ROLES),
        ErrorCode::AuthenticationFailed => failed.with_hint("check user, password and auth database of the credential"),
        _ => failed,
    }
}

/// By the numbers of the server's `error_codes.yml`.
pub(super) fn by_code(code: i32) -> ErrorCode {
    match code {
        // Unauthorized
        13 => ErrorCode::PermissionDenied,
        // AuthenticationFailed
        18 => ErrorCode::AuthenticationFailed,
        // OutOfDiskSpace, and the quota of hosted servers
        14031 | 12501 => ErrorCode::DiskFull,
        // HostUnreachable, HostNotFound, NetworkTimeout, ShutdownInProgress, PrimarySteppedDown, InterruptedAtShutdown,
        // InterruptedDueToReplStateChange, NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary
        6 | 7 | 89 | 91 | 189 | 11600 | 11602 | 10107 | 13435 | 13436 => ErrorCode::ConnectionLost,
        // NamespaceExists
        48 => ErrorCode::CollectionExists,
        // NamespaceNotFound
        26 => ErrorCode::TargetChanged,
        // BadValue, FailedToParse, CommandNotFound, CannotCreateIndex, InvalidOptions, IndexOptionsConflict,
        // IndexKeySpecsConflict, CommandNotSupported, InvalidIndexSpecificationOption, NotImplemented, unknown fields
        2 | 9 | 59 | 67 | 72 | 85 | 86 | 115 | 197 | 238 | 40415 => ErrorCode::RestoreIncompatible,
        // DuplicateKey and its historic forms
        11000 | 11001 | 12582 => ErrorCode::DuplicateKeys,
        _ => ErrorCode::QueryFailed,
    }
}

/// What cannot be, was it not for a fault of ours.
pub(super) fn internal(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EngineError {
    EngineError::new(ErrorCode::Internal, format!("{what} could not be made")).with_source(error)
}
