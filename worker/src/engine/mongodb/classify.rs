//! From what the driver and the tools say to our codes.

use mongodb::error::{Error, ErrorKind};

use super::super::{EngineError, ErrorCode};

/// What to look for in the words of the tools, in order; the driver says "server selection" of most of it.
const WORDS: &[(ErrorCode, &[&str])] = &[
    (ErrorCode::TlsFailed, &["x509:", "tls:", "certificate", "InvalidCertificate", "received corrupt message of type"]),
    (
        ErrorCode::AuthenticationFailed,
        &["Authentication failed", "auth error", "AuthenticationFailed", "SCRAM failure"],
    ),
    (ErrorCode::PermissionDenied, &["not authorized", "Unauthorized"]),
    (
        ErrorCode::ServerUnreachable,
        &["server selection error", "connection refused", "no reachable servers", "no such host"],
    ),
    (ErrorCode::ConnectionLost, &["connection reset", "socket was unexpectedly closed", "incomplete read of message"]),
];

/// The code for what a tool wrote to stderr.
pub(super) fn stderr(text: &str) -> Option<ErrorCode> {
    WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word))).map(|(code, _)| *code)
}

/// Turns an error of the driver into ours; `what` says what was being done.
pub(in crate::engine) fn failed(what: &str) -> impl FnOnce(Error) -> EngineError {
    move |error| {
        let code = code(&error);
        let message = match &*error.kind {
            ErrorKind::Command(command) => format!("{what} failed: {}", command.message),
            ErrorKind::ServerSelection { message, .. } => format!("{what} failed: {}", gist(message)),
            _ => format!("{what} failed"),
        };
        EngineError::new(code, message).with_source(error)
    }
}

/// The driver's account of a whole topology, cut to the first server's error.
fn gist(message: &str) -> &str {
    match message.find("Error: ") {
        Some(at) => message[at + "Error: ".len()..].trim_end_matches(['}', ']', ' ', ',']),
        None => message,
    }
}

fn code(error: &Error) -> ErrorCode {
    match &*error.kind {
        ErrorKind::Authentication { .. } => ErrorCode::AuthenticationFailed,
        ErrorKind::InvalidTlsConfig { .. } => ErrorCode::TlsFailed,
        ErrorKind::ServerSelection { message, .. } => {
            stderr(message).filter(|code| *code == ErrorCode::TlsFailed).unwrap_or(ErrorCode::ServerUnreachable)
        }
        ErrorKind::DnsResolve { .. } => ErrorCode::ServerUnreachable,
        ErrorKind::Io(io) if stderr(&io.to_string()) == Some(ErrorCode::TlsFailed) => ErrorCode::TlsFailed,
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } => ErrorCode::ConnectionLost,
        ErrorKind::InvalidArgument { .. } => ErrorCode::InvalidRequest,
        ErrorKind::Command(command) => command_code(command.code),
        _ => ErrorCode::QueryFailed,
    }
}

/// Of the server's own error codes those that an operator can act upon.
fn command_code(code: i32) -> ErrorCode {
    match code {
        18 => ErrorCode::AuthenticationFailed,
        13 | 8000 => ErrorCode::PermissionDenied,
        14031 => ErrorCode::DiskFull,
        // A cursor or an operation that somebody ended.
        43 | 237 | 11601 => ErrorCode::QueryCancelled,
        // Shutting down, or no longer the primary: another attempt finds the new one.
        91 | 189 | 10058 | 10107 | 11600 | 11602 | 13435 | 13436 => ErrorCode::ConnectionLost,
        _ => ErrorCode::QueryFailed,
    }
}

/// Whether the server does not know what it was asked for.
pub(super) fn is_unknown_command(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::Command(command) => {
            matches!(command.code, 59 | 115 | 238)
                || command.message.contains("no such c")
                || command.message.contains("no such command")
        }
        _ => false,
    }
}

/// Whether the role may not do it.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Command(command) if command_code(command.code) == ErrorCode::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_tools_have_their_codes() {
        let said = |text| stderr(text);
        assert_eq!(
            said(
                "Failed: can't create session: connection() error occurred during connection handshake: auth error: sasl conversation error: (AuthenticationFailed) Authentication failed."
            ),
            Some(ErrorCode::AuthenticationFailed)
        );
        assert_eq!(
            said("server selection error: server selection timeout: dial tcp: connection refused"),
            Some(ErrorCode::ServerUnreachable)
        );
        assert_eq!(
            said("x509: certificate signed by unknown authority, server selection error"),
            Some(ErrorCode::TlsFailed)
        );
        assert_eq!(said("done dumping"), None);
    }

    #[test]
    fn of_a_topology_the_reason_is_kept() {
        let message = "Server selection timeout: No available servers. Topology: { Type: Single, Servers: [ { Address: h:1, Type: Unknown, Error: Kind: I/O error: Connection refused } ] }";
        assert_eq!(gist(message), "Kind: I/O error: Connection refused");
    }
}
