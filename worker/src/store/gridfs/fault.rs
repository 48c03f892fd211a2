//! The driver's errors in a store's words.

use mongodb::error::{Error, ErrorKind, WriteFailure};
use shared::name::Slug;

use crate::store::{Fault, StoreError};

pub(super) fn from_driver(store: &Slug, doing: &'static str, place: String, source: Error) -> StoreError {
    let fault = match source.kind.as_ref() {
        ErrorKind::Authentication { .. } => Fault::Denied,
        ErrorKind::ServerSelection { .. }
        | ErrorKind::Io(_)
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Shutdown => Fault::Unreachable,
        ErrorKind::Command(command) => by_code(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => by_code(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => by_code(concern.code),
        _ => Fault::Failed,
    };
    StoreError::new(store, doing, place, fault).because(source)
}

/// Codes from the server's `error_codes.yml`.
fn by_code(code: i32) -> Fault {
    match code {
        // DuplicateKey and its two historic forms
        11000 | 11001 | 12582 => Fault::Exists,
        // OutOfDiskSpace, and the quota of hosted servers
        14031 | 12501 => Fault::Full,
        // Unauthorized, AuthenticationFailed
        13 | 18 => Fault::Denied,
        // HostUnreachable, HostNotFound, NetworkTimeout, ShutdownInProgress, PrimarySteppedDown,
        // InterruptedAtShutdown, InterruptedDueToReplStateChange, NotWritablePrimary
        6 | 7 | 89 | 91 | 189 | 11600 | 11602 | 10107 => Fault::Unreachable,
        _ => Fault::Failed,
    }
}
