//! A database on the stack's target server, for one test.

use std::path::PathBuf;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::{stack, wait::until};

/// Dropped with whoever is connected, when the test ends.
#[derive(Debug)]
pub struct Database {
    pub name: String,
}

impl Database {
    /// A database with this content.
    pub async fn create(sql: &str) -> Self {
        Self::named(&stack::fresh("src"), sql).await
    }

    /// As [`Database::create`], under a name of the test's own.
    pub async fn named(name: &str, sql: &str) -> Self {
        let mut server = connect("postgres").await;
        run(&mut server, &format!("CREATE DATABASE {}", quoted(name))).await;
        let database = Self { name: name.to_owned() };
        run(&mut database.session().await, sql).await;
        database
    }

    /// A few tables with rows in them.
    pub async fn small() -> Self {
        Self::create(
            "CREATE TABLE lots (id bigint PRIMARY KEY, title text NOT NULL);
             INSERT INTO lots SELECT n, 'lot ' || n FROM generate_series(1, 1000) n;
             CREATE TABLE bids (id bigint GENERATED ALWAYS AS IDENTITY, lot bigint REFERENCES lots, cents int);
             INSERT INTO bids (lot, cents) SELECT 1 + n % 1000, n FROM generate_series(1, 5000) n",
        )
        .await
    }

    /// A session of a superuser.
    pub async fn session(&self) -> PgConnection {
        connect(&self.name).await
    }

    /// One text, from one row.
    pub async fn text(&self, sql: &str) -> String {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut self.session().await).await.unwrap()
    }

    /// Drops it now, without blocking the test's other futures: a server that drops a database waits for every session
    /// that is just being opened, and one of those may be this very test's.
    pub async fn remove(self) {
        remove(&self.name).await;
        std::mem::forget(self);
    }

    /// Holds a lock that a dump of `table` has to wait for: as long as this lives, every real `pg_dump` of the database
    /// runs and does not get on.
    pub async fn hold(&self, table: &str) -> Hold {
        let mut session = self.session().await;
        run(&mut session, &format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await;
        Hold { session }
    }

    /// Waits until a session of Holdfast waits for a lock here: a dump has come to what [`Database::hold`] holds.
    pub async fn dump_waits(&self) {
        until("a dump waits for the lock", || async { self.has_waiting_dump().await.then_some(()) }).await;
    }

    async fn has_waiting_dump(&self) -> bool {
        let waiting = "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'holdfast/%' AND wait_event_type = 'Lock'";
        sqlx::query_scalar(waiting).bind(&self.name).fetch_one(&mut connect("postgres").await).await.unwrap()
    }

    /// Sessions of Holdfast on this database.
    pub async fn sessions(&self) -> Vec<String> {
        let sql =
            "SELECT application_name FROM pg_stat_activity WHERE datname = $1 AND application_name LIKE 'holdfast/%'";
        sqlx::query_scalar(sql).bind(&self.name).fetch_all(&mut connect("postgres").await).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A database that stays is no reason to abort a test that is failing already.
        drop(psql_target(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(&self.name))));
    }
}

/// A lock, given back by [`Hold::release`] or when dropped.
#[derive(Debug)]
pub struct Hold {
    session: PgConnection,
}

impl Hold {
    pub async fn release(self) {
        self.session.close().await.unwrap();
    }
}

/// A superuser's session on a database of the target server.
pub async fn connect(database: &str) -> PgConnection {
    PgConnection::connect_with(&options(database)).await.unwrap()
}

pub(crate) fn options(database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&stack::setting("TARGET_HOST"))
        .port(stack::setting("TARGET_PORT").parse().unwrap())
        .username(&stack::setting("TARGET_SUPER_USER"))
        .password(&stack::setting("TARGET_SUPER_PASSWORD"))
        .database(database)
        .application_name("test")
}

/// Runs statements of the test's own.
pub async fn run(session: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(session).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

/// Whether the target server has a database of this name.
pub async fn exists(name: &str) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    sqlx::query_scalar(sql).bind(name).fetch_one(&mut connect("postgres").await).await.unwrap()
}

/// Drops a database, with whoever is connected, if there is one.
pub async fn remove(name: &str) {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
    run(&mut connect("postgres").await, &sql).await;
}

/// An identifier in quotes.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Where the stack's own psql, `pg_dump` and `pg_restore` are.
pub fn tool(name: &str) -> PathBuf {
    PathBuf::from(stack::setting("PG_BINDIR")).join(name)
}

/// Drops a database, what was kept of it, and the role that owned them.
pub(crate) fn drop_with_role(database: &str, role: &str) {
    let owned =
        format!("SELECT datname FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba WHERE rolname = '{role}'");
    for name in psql_target(&owned).unwrap_or_default().lines().chain([database]) {
        drop(psql_target(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name))));
    }
    // What stays is no reason to abort a test that is failing already.
    drop(psql_target(&format!("DROP ROLE IF EXISTS {role}")));
}

fn psql_target(sql: &str) -> Result<String, String> {
    let (host, port) = (stack::setting("TARGET_HOST"), stack::setting("TARGET_PORT"));
    let (user, password) = (stack::setting("TARGET_SUPER_USER"), stack::setting("TARGET_SUPER_PASSWORD"));
    let envs = [
        ("PGHOST", host.as_str()),
        ("PGPORT", &port),
        ("PGUSER", &user),
        ("PGPASSWORD", &password),
        ("PGDATABASE", "postgres"),
    ];
    stack::try_run(&tool("psql"), &["-XqAt", "-c", sql], &envs)
}
