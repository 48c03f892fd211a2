//! Sessions of our own on a target, and names and texts as SQL takes them.

use std::{future::Future, time::Duration};

use secrecy::ExposeSecret as _;
use shared::name::DatabaseName;
use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio_util::sync::CancellationToken;

use super::{
    super::{Connection, EngineError, ErrorCode},
    classify,
    tunnel::Tunnel,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens a session on a database, within 10 s.
pub(super) async fn connect(at: &Connection, database: &DatabaseName) -> Result<PgConnection, EngineError> {
    let too_late = |_| {
        let message = format!("{}:{} did not answer within {} s", at.host, at.port, CONNECT_TIMEOUT.as_secs());
        EngineError::new(ErrorCode::ServerUnreachable, message)
    };
    tokio::time::timeout(CONNECT_TIMEOUT, open(at, database)).await.map_err(too_late)?
}

async fn open(at: &Connection, database: &DatabaseName) -> Result<PgConnection, EngineError> {
    let tunnel = Tunnel::open(at).await?;
    let options = PgConnectOptions::new_without_pgpass()
        .socket(&tunnel.directory)
        .port(tunnel.port)
        .username(at.user.as_str())
        .password(at.password.expose_secret())
        .database(database.as_str())
        .application_name(&at.session.to_string())
        .ssl_mode(PgSslMode::Disable)
        .options([("lock_timeout", "10s"), ("search_path", "pg_catalog")])
        .disable_statement_logging();
    options.connect().await.map_err(|error| {
        let what = format!("connecting to {}:{}, database {:?}", at.host, at.port, database.as_str());
        match (tunnel.refusal(), &error) {
            (Some(refusal), _) => {
                EngineError::new(ErrorCode::AuthenticationFailed, format!("{what} failed: {refusal}"))
            }
            (None, sqlx::Error::Io(_)) => {
                EngineError::new(ErrorCode::ServerUnreachable, format!("{what} failed")).with_source(error)
            }
            (None, _) => query(&what)(error),
        }
    })
}

/// Turns an error of a statement into ours; `what` says what was being done.
pub(super) fn query(what: &str) -> impl FnOnce(sqlx::Error) -> EngineError {
    move |error| {
        let code = match &error {
            sqlx::Error::Database(database) => {
                let code = database.code().and_then(|state| classify::sqlstate(&state, database.message()));
                code.unwrap_or(ErrorCode::QueryFailed)
            }
            sqlx::Error::Io(_) => ErrorCode::ConnectionLost,
            _ => ErrorCode::QueryFailed,
        };
        match &error {
            sqlx::Error::Database(database) => EngineError::new(code, format!("{what} failed: {}", database.message())),
            _ => EngineError::new(code, format!("{what} failed")).with_source(error),
        }
    }
}

/// Runs to the end or until the token fires; a session in the future is closed then.
pub(super) async fn cancellable<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(EngineError::cancelled()))
}

/// `"name"`, with every quote doubled: any name is one identifier.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant that means the same under every `standard_conforming_strings`.
pub(super) fn literal(text: &str) -> String {
    let prefix = if text.contains('\\') { " E" } else { "" };
    format!("{prefix}'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// `dbname='…'`: a conninfo that names a database and can name nothing else.
pub(super) fn conninfo(database: &DatabaseName) -> String {
    format!("dbname='{}'", database.as_str().replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_leaves_no_way_out() {
        assert_eq!(ident(r#"a"b.c"#), r#""a""b.c""#);
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"\'"), r" E'\\'''");
        let database = DatabaseName::parse(r"x' host=evil\").unwrap();
        assert_eq!(conninfo(&database), r"dbname='x\' host=evil\\'");
    }
}
