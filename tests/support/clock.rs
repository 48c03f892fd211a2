//! The clock of an installation. Holdfast asks its database what time it is, and nobody else: schedulers, sweepers, leases,
//! logins and retention have all their instants from `clock_timestamp()`. A database that finds another function of that
//! name before PostgreSQL's own therefore sets the time of all processes at once. Times go on from wherever it is put, and
//! tests wait by their own clock.

use sqlx::{Connection, PgConnection, PgPool};

use crate::{app::url_of, database::run};

/// Made before the migrations: the defaults of their tables are bound to it, too. A session's search path reaches what is
/// called by statements and triggers.
const MOVABLE: &str = "
    CREATE SCHEMA movable;
    CREATE TABLE movable.clock (ahead interval NOT NULL);
    INSERT INTO movable.clock VALUES ('0');
    CREATE FUNCTION movable.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
        AS 'SELECT pg_catalog.clock_timestamp() + ahead FROM movable.clock';
    GRANT USAGE ON SCHEMA movable TO PUBLIC;
    GRANT SELECT ON movable.clock TO PUBLIC;";

/// Gives an empty database a clock that can be moved, and puts it to this time.
pub(crate) async fn install(database: &str, time: &str) {
    let mut session = PgConnection::connect(&url_of("META_SUPER_URL", database)).await.unwrap();
    run(&mut session, MOVABLE).await;
    run(&mut session, &format!("ALTER DATABASE {database} SET search_path = public, movable, pg_catalog")).await;
    run(&mut session, &moved(time)).await;
    session.close().await.unwrap();
}

/// Puts it to this time. Leases that run are cut short by that, so nothing should be running.
pub(crate) async fn set(pool: &PgPool, time: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(moved(time))).execute(pool).await.unwrap();
}

/// In seconds: a day that is added to an instant has 23 hours now and then.
fn moved(time: &str) -> String {
    format!(
        "UPDATE movable.clock SET ahead = make_interval(secs => extract(epoch FROM '{time}'::timestamptz - pg_catalog.clock_timestamp())::float8)"
    )
}
