//! From what servers and tools say to our codes. The tests hold what real tools of several versions said to real servers:
//! `classify/messages.txt`, written by the script beside it.

use super::super::ErrorCode;

/// The code for an SQLSTATE and its message; None for those that say nothing an operator could act upon.
pub(crate) fn sqlstate(state: &str, message: &str) -> Option<ErrorCode> {
    Some(match state {
        "28P01" | "28000" => ErrorCode::AuthenticationFailed,
        "3D000" => ErrorCode::DatabaseMissing,
        "42P04" => ErrorCode::DatabaseExists,
        "55006" => ErrorCode::DatabaseInUse,
        "55000" if message.contains(CLOSED) => ErrorCode::DatabaseClosed,
        "42501" => ErrorCode::PermissionDenied,
        "53300" => ErrorCode::TooManyConnections,
        "53100" => ErrorCode::DiskFull,
        "55P03" | "40P01" => ErrorCode::LockTimeout,
        "57P03" => ErrorCode::ServerUnreachable,
        "57014" => ErrorCode::QueryCancelled,
        "57P01" | "57P02" | "08006" | "08003" => ErrorCode::ConnectionLost,
        // Any object that is not there, of which a role is one.
        "42704" if message.starts_with("role \"") => ErrorCode::RoleMissing,
        "22023" | "42602" => ErrorCode::InvalidRequest,
        _ => return None,
    })
}

const CLOSED: &str = "is not currently accepting connections";

/// What to look for, in order: libpq adds general remarks to special ones, and servers explain one thing by another.
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
            "SSL support is not compiled in",
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
            "the database system is not yet accepting connections",
        ],
    ),
    (
        ErrorCode::TooManyConnections,
        &["too many clients already", "remaining connection slots are reserved", "too many connections for"],
    ),
    (ErrorCode::DatabaseClosed, &[CLOSED, "cannot connect to invalid database"]),
    (ErrorCode::ClientTooOld, &["aborting because of server version mismatch", "in file header"]),
    (ErrorCode::DiskFull, &["No space left on device"]),
    (
        ErrorCode::LockTimeout,
        &[
            "canceling statement due to lock timeout",
            // How pg_dump waits for its locks; it runs nothing else under a time-out.
            "canceling statement due to statement timeout",
            "could not obtain lock on relation",
            "deadlock detected",
        ],
    ),
    (ErrorCode::TableMissing, &["no matching tables were found", "no matching schemas were found"]),
    (ErrorCode::RestoreIncompatible, &["unrecognized configuration parameter", "unrecognized parameter \""]),
    (
        ErrorCode::ExtensionMissing,
        &["could not open extension control file", "Could not open extension control file", "is not available"],
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
            "user may lack SELECT privilege",
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
    (ErrorCode::QueryCancelled, &["canceling statement due to"]),
    (
        ErrorCode::EmptyOrBadFormat,
        &[
            // 18 speaks of a tar archive, the older ones of an archive.
            "input file does not appear to be a valid",
            "input file appears to be a text format dump",
            "input file is too short",
            "did not find magic string in file header",
            "could not read from input file",
            "corrupt",
        ],
    ),
    (ErrorCode::TablesNotEmpty, &[super::parts::NOT_EMPTY]),
    (ErrorCode::RowsDoNotMatch, &["violates foreign key constraint"]),
    (ErrorCode::DependentObjects, &["because other objects depend on it", "because it is required by"]),
    (ErrorCode::RestoreConflict, &["already exists"]),
];

/// The code for what a tool wrote to stderr (`LC_ALL=C`).
pub(crate) fn stderr(text: &str) -> Option<ErrorCode> {
    // What the server quotes of a statement or of data is not what went wrong.
    let quoted = ["Command was: ", "pg_dump: detail: Query was: ", "pg_dumpall: detail: Query was: ", "CONTEXT:  "];
    let end = quoted.iter().filter_map(|start| text.find(start)).min().unwrap_or(text.len());
    let said = &text[..end];
    missing(said)
        .or_else(|| WORDS.iter().find(|(_, words)| words.iter().any(|word| said.contains(word))).map(|(code, _)| *code))
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

    /// `== code | case | tool version | server version`, and what the tool said.
    const MESSAGES: &str = include_str!("classify/messages.txt");

    fn entries() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        MESSAGES.split("\n\n").filter(|entry| !entry.trim().is_empty()).map(|entry| {
            let (head, text) = entry.trim_start().split_once('\n').unwrap();
            let (code, case) = head.strip_prefix("== ").unwrap().split_once(" | ").unwrap();
            (code, case, text)
        })
    }

    #[test]
    fn what_real_tools_said_gets_its_code() {
        let mut wrong = Vec::new();
        for (code, case, text) in entries() {
            let found = stderr(text).map_or("none", ErrorCode::as_str);
            if found != code {
                wrong.push(format!("{case}: {found} instead of {code}\n{text}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(entries().count() > 40, "{} messages only", entries().count());
    }

    #[test]
    fn what_a_statement_or_a_row_says_is_not_the_error() {
        let text = "pg_restore: error: could not execute query: ERROR:  syntax error\nCommand was: COMMENT ON TABLE t IS 'permission denied, Connection refused';";
        assert_eq!(stderr(text), None);
        let text = "pg_restore: error: COPY failed for table \"t\": ERROR:  invalid input\nCONTEXT:  COPY t, line 1: \"No space left on device\"";
        assert_eq!(stderr(text), None);
        assert_eq!(stderr("pg_dump: error: out of memory"), None);
    }

    #[test]
    fn of_missing_objects_only_a_role_is_a_role() {
        assert_eq!(sqlstate("42704", "role \"app\" does not exist"), Some(ErrorCode::RoleMissing));
        assert_eq!(sqlstate("42704", "unrecognized configuration parameter \"x\""), None);
        assert_eq!(sqlstate("42704", "collation \"role\" for encoding \"UTF8\" does not exist"), None);
    }

    #[test]
    fn what_waits_for_a_person_is_permanent() {
        for state in ["28P01", "3D000", "42501", "42P04"] {
            assert!(sqlstate(state, "").unwrap().is_permanent(), "{state}");
        }
        for state in ["57P03", "53300", "57P01", "57014"] {
            assert!(!sqlstate(state, "").unwrap().is_permanent(), "{state}");
        }
    }
}
