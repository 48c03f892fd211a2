//! Connections to Holdfast's own database: each pool has its purpose (beats must not wait for anything else) and its
//! name in `pg_stat_activity`. The URL is a secret and appears in no error.

use std::{str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::DbError;

/// How long a caller waits for a connection before it hears that there is none.
const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a connection that has just worked is believed to live, where requests use it: under load asking it would
/// be every second statement, and who asked hears of a connection that broke all the same and may ask again.
const FRESH: Duration = Duration::from_secs(1);

/// A pool for work, whose first connection stands: the error says that the database cannot be reached. A statement
/// here may be what hours of work end with, so every connection is asked whether it lives before it is lent.
pub async fn connect(url: &str, connections: u32, application_name: &str) -> Result<PgPool, DbError> {
    Ok(pool(connections, Duration::ZERO).connect_with(options(url, application_name)?).await?)
}

/// A pool for requests, which connects when it is first used: the error says only that the URL is none.
pub fn connect_later(url: &str, connections: u32, application_name: &str) -> Result<PgPool, DbError> {
    Ok(pool(connections, FRESH).connect_lazy_with(options(url, application_name)?))
}

/// One connection in no pool, for what lives and dies with its session, such as an advisory lock.
pub async fn session(url: &str, application_name: &str) -> Result<PgConnection, DbError> {
    Ok(watched(url, application_name)?.connect().await?)
}

/// A pool of one such connection, for a listener: it connects again through its pool.
pub(super) fn session_pool(url: &str, application_name: &str) -> Result<PgPool, DbError> {
    Ok(pool(1, Duration::ZERO).connect_lazy_with(watched(url, application_name)?))
}

/// Every connection that did nothing for `fresh` is asked whether it lives before it is lent.
fn pool(connections: u32, fresh: Duration) -> PgPoolOptions {
    let options = PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE);
    let options = options.test_before_acquire(false).before_acquire(move |conn, meta| {
        Box::pin(async move {
            if meta.idle_for >= fresh {
                conn.ping().await?;
            }
            Ok(true)
        })
    });
    options.after_connect(|conn, _| {
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
