//! From what libpq and the tools say to our codes.

use super::super::ErrorCode;

/// The code for an SQLSTATE; None for those that say nothing an operator could act upon.
pub(crate) fn sqlstate(state: &str) -> Option<ErrorCode> {
    Some(match state {
        "28P01" | "28000" => ErrorCode::AuthenticationFailed,
        "3D000" => ErrorCode::DatabaseMissing,
        "42P04" => ErrorCode::DatabaseExists,
        "55006" => ErrorCode::DatabaseInUse,
        "42501" => ErrorCode::PermissionDenied,
        "53300" => ErrorCode::TooManyConnections,
        "53100" => ErrorCode::DiskFull,
        "55P03" => ErrorCode::LockTimeout,
        "57P03" => ErrorCode::ServerUnreachable,
        "57P01" | "57P02" | "08006" | "08003" => ErrorCode::ConnectionLost,
        "42704" => ErrorCode::RoleMissing,
        "22023" | "42602" => ErrorCode::InvalidRequest,
        _ => return None,
    })
}

/// The code for what a tool wrote to stderr (`LC_ALL=C`). The order matters: libpq adds general remarks to special ones.
pub(crate) fn stderr(text: &str) -> Option<ErrorCode> {
    const WORDS: &[(ErrorCode, &[&str])] = &[
        (
            ErrorCode::TlsFailed,
            &[
                "SSL error:",
                "certificate verify failed",
                "server certificate for",
                "does not match host name",
                "root certificate file",
                "server does not support SSL",
            ],
        ),
        (
            ErrorCode::AuthenticationFailed,
            &[
                "password authentication failed",
                "no password supplied",
                "no pg_hba.conf entry",
                "pg_hba.conf rejects",
                "authentication method requirement",
                "is not permitted to log in",
            ],
        ),
        (
            ErrorCode::ServerUnreachable,
            &[
                "Connection refused",
                "could not translate host name",
                "No route to host",
                "Network is unreachable",
                "timeout expired",
                "Connection timed out",
                "the database system is starting up",
                "the database system is shutting down",
                "the database system is in recovery mode",
            ],
        ),
        (
            ErrorCode::TooManyConnections,
            &["too many clients already", "remaining connection slots are reserved", "too many connections for"],
        ),
        (ErrorCode::ClientTooOld, &["aborting because of server version mismatch", "in file header"]),
        (ErrorCode::DiskFull, &["No space left on device"]),
        (
            ErrorCode::LockTimeout,
            &["canceling statement due to lock timeout", "could not obtain lock on relation", "deadlock detected"],
        ),
        (ErrorCode::TableMissing, &["no matching tables were found", "no matching schemas were found"]),
        (ErrorCode::RestoreIncompatible, &["unrecognized configuration parameter"]),
        (
            ErrorCode::ExtensionMissing,
            &["could not open extension control file", "is not available", "could not access file"],
        ),
        (
            ErrorCode::PermissionDenied,
            &[
                "permission denied",
                "must be owner of",
                "must be superuser",
                "must be member of role",
                "must be able to SET ROLE",
                "query would be affected by row-level security policy",
            ],
        ),
        (
            ErrorCode::ConnectionLost,
            &[
                "server closed the connection unexpectedly",
                "terminating connection",
                "connection not open",
                "lost synchronization with server",
                "SSL connection has been closed unexpectedly",
                "could not receive data from server",
            ],
        ),
        (
            ErrorCode::EmptyOrBadFormat,
            &[
                "input file does not appear to be a valid archive",
                "input file is too short",
                "did not find magic string in file header",
                "could not read from input file: end of file",
                "corrupt",
            ],
        ),
    ];
    if let Some(code) = missing(text) {
        return Some(code);
    }
    WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word))).map(|(code, _)| *code)
}

/// `… database "x" does not exist` and its like, where a name of any form stands between.
fn missing(text: &str) -> Option<ErrorCode> {
    let lines = || text.lines().filter(|line| line.ends_with("does not exist"));
    if lines().any(|line| line.contains("FATAL:  database \"")) {
        Some(ErrorCode::DatabaseMissing)
    } else if lines().any(|line| line.contains("FATAL:  role \"")) {
        Some(ErrorCode::AuthenticationFailed)
    } else if lines().any(|line| line.contains("ERROR:  role \"")) {
        Some(ErrorCode::RoleMissing)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the tools of version 15 wrote them.
    #[test]
    fn real_messages_get_their_codes() {
        let at = "pg_dump: error: connection to server at \"127.0.0.1\", port 5544 failed: ";
        let cases: &[(&str, ErrorCode)] = &[
            ("FATAL:  password authentication failed for user \"hf\"", ErrorCode::AuthenticationFailed),
            ("fe_sendauth: no password supplied", ErrorCode::AuthenticationFailed),
            ("FATAL:  role \"nobody\" does not exist", ErrorCode::AuthenticationFailed),
            (
                "FATAL:  no pg_hba.conf entry for host \"127.0.0.1\", user \"a\", database \"b\", SSL encryption",
                ErrorCode::AuthenticationFailed,
            ),
            ("FATAL:  database \"host=evil port=1\" does not exist", ErrorCode::DatabaseMissing),
            (
                "FATAL:  permission denied for database \"x\"\nDETAIL:  User does not have CONNECT privilege.",
                ErrorCode::PermissionDenied,
            ),
            (
                "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?",
                ErrorCode::ServerUnreachable,
            ),
            ("timeout expired", ErrorCode::ServerUnreachable),
            ("SSL error: certificate verify failed", ErrorCode::TlsFailed),
            ("server certificate for \"localhost\" does not match host name \"127.0.0.1\"", ErrorCode::TlsFailed),
            ("server does not support SSL, but SSL was required", ErrorCode::TlsFailed),
            ("root certificate file \"/x/ca.pem\" does not exist", ErrorCode::TlsFailed),
            ("FATAL:  sorry, too many clients already", ErrorCode::TooManyConnections),
        ];
        for (text, code) in cases {
            assert_eq!(stderr(&format!("{at}{text}")), Some(*code), "{text}");
        }
        let cases: &[(&str, ErrorCode)] = &[
            (
                "pg_dump: error: could not translate host name \"no.invalid\" to address: Name or service not known",
                ErrorCode::ServerUnreachable,
            ),
            (
                "pg_dump: error: query failed: ERROR:  permission denied for table secret\npg_dump: detail: Query was: LOCK TABLE public.secret IN ACCESS SHARE MODE",
                ErrorCode::PermissionDenied,
            ),
            (
                "pg_dump: error: query failed: ERROR:  query would be affected by row-level security policy for table \"t\"",
                ErrorCode::PermissionDenied,
            ),
            (
                "pg_dump: error: aborting because of server version mismatch\npg_dump: detail: server version: 17.2; pg_dump version: 15.20",
                ErrorCode::ClientTooOld,
            ),
            ("pg_restore: error: unsupported version (1.16) in file header", ErrorCode::ClientTooOld),
            ("pg_dump: error: no matching tables were found for pattern \"\"\"x\"\"\"", ErrorCode::TableMissing),
            ("pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout", ErrorCode::LockTimeout),
            ("pg_restore: error: could not execute query: ERROR:  role \"app\" does not exist", ErrorCode::RoleMissing),
            (
                "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"",
                ErrorCode::RestoreIncompatible,
            ),
            (
                "pg_restore: error: could not execute query: ERROR:  extension \"vector\" is not available",
                ErrorCode::ExtensionMissing,
            ),
            ("pg_restore: error: input file does not appear to be a valid archive", ErrorCode::EmptyOrBadFormat),
            ("pg_restore: error: could not read from input file: end of file", ErrorCode::EmptyOrBadFormat),
            (
                "pg_dump: error: Dumping the contents of table \"t\" failed: PQgetCopyData() failed.\npg_dump: detail: Error message from server: server closed the connection unexpectedly",
                ErrorCode::ConnectionLost,
            ),
        ];
        for (text, code) in cases {
            assert_eq!(stderr(text), Some(*code), "{text}");
        }
        assert_eq!(stderr("pg_dump: error: out of memory"), None);
    }

    #[test]
    fn what_waits_for_a_person_is_permanent() {
        for state in ["28P01", "3D000", "42501", "42P04"] {
            assert!(sqlstate(state).unwrap().is_permanent(), "{state}");
        }
        for state in ["57P03", "53300", "57P01"] {
            assert!(!sqlstate(state).unwrap().is_permanent(), "{state}");
        }
    }
}
