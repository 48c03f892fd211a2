//! Connections to Holdfast's own database: each pool has its purpose (beats must not wait for anything else) and its
//! name in `pg_stat_activity`. The URL is a secret and appears in no error.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::DbError;

/// How long a caller waits for a connection before it hears that there is none.
const ACQUIRE: Duration = Duration::from_secs(5);

/// A pool whose first connection stands: the error says that the database cannot be reached.
pub async fn connect(url: &str, connections: u32, application_name: &str) -> Result<PgPool, DbError> {
    Ok(pool(connections).connect_with(options(url, application_name)?).await?)
}

/// A pool that connects when it is first used: the error says only that the URL is none.
pub fn connect_later(url: &str, connections: u32, application_name: &str) -> Result<PgPool, DbError> {
    Ok(pool(connections).connect_lazy_with(options(url, application_name)?))
}

/// One connection in no pool, for what lives and dies with its session, such as an advisory lock.
pub async fn session(url: &str, application_name: &str) -> Result<PgConnection, DbError> {
    Ok(watched(url, application_name)?.connect().await?)
}

/// A pool of one such connection, for a listener: it connects again through its pool.
pub(super) fn session_pool(url: &str, application_name: &str) -> Result<PgPool, DbError> {
    Ok(pool(1).connect_lazy_with(watched(url, application_name)?))
}

fn pool(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE).after_connect(|conn, _| {
        Box::pin(async move {
            // Behind a long queue the claim's estimate passes the threshold, and compiling it takes five times as long as
            // running it. A process that freezes inside a transaction must not hold its rows' locks for ever: nobody
            // could take its job, and the sweep would wait with it. Said here and not in the start-up message, which
            // poolers refuse.
            conn.execute("SET jit = off; SET idle_in_transaction_session_timeout = '10s'").await?;
            Ok(())
        })
    })
}

fn options(url: &str, application_name: &str) -> Result<PgConnectOptions, DbError> {
    Ok(PgConnectOptions::from_str(url)?.application_name(application_name))
}

/// A process whose machine vanished without a word must not hold its lock for the two hours of the default.
fn watched(url: &str, application_name: &str) -> Result<PgConnectOptions, DbError> {
    Ok(options(url, application_name)?.options([
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
    ]))
}
