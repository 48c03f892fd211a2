//! What a database on the target server is, so that two can be compared: its schema, its rows, and what belongs to the
//! database itself.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::{
    database::{connect, tool},
    invariants::sha256,
    stack,
};

/// Two databases with equal digests are the same to anybody who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// SHA-256 of what `pg_dump --schema-only` says.
    pub schema: String,
    /// Per table: how many rows, and the MD5 of all of them in order.
    pub rows: BTreeMap<String, String>,
    /// Where each sequence stands.
    pub sequences: BTreeMap<String, String>,
    /// Owner, encoding, collation, privileges, settings, connection limit.
    pub own: String,
}

impl Digest {
    /// Of the database of this name on the stack's target server.
    pub async fn of(name: &str) -> Self {
        let mut session = connect(name).await;
        let tables = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'";
        let mut rows = BTreeMap::new();
        for table in texts(&mut session, tables).await {
            let sql = format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') FROM {table} t"
            );
            rows.insert(table, texts(&mut session, &sql).await.remove(0));
        }
        let sequences = "SELECT format('%I.%I=%s', schemaname, sequencename, last_value) FROM pg_sequences";
        let split = |line: String| line.rsplit_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let sequences = texts(&mut session, sequences).await.into_iter().map(split).collect();
        let own = "SELECT concat_ws(' ', pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype,
                datallowconn, datconnlimit, datacl::text, (SELECT string_agg(setconfig::text, ' ' ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid))
            FROM pg_database d WHERE datname = current_database()";
        let own = texts(&mut session, own).await.remove(0);
        Self { schema: schema(name).await, rows, sequences, own }
    }
}

async fn texts(session: &mut PgConnection, sql: &str) -> Vec<String> {
    let rows =
        sqlx::query(AssertSqlSafe(sql)).fetch_all(session).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    rows.into_iter().map(|row| row.get::<Option<String>, _>(0).unwrap_or_default()).collect()
}

#[expect(clippy::disallowed_methods, reason = "tests run tools as a person would")]
async fn schema(name: &str) -> String {
    let (host, port) = (stack::setting("TARGET_HOST"), stack::setting("TARGET_PORT"));
    let (user, password) = (stack::setting("TARGET_SUPER_USER"), stack::setting("TARGET_SUPER_PASSWORD"));
    let envs = [
        ("PGHOST", host.as_str()),
        ("PGPORT", &port),
        ("PGUSER", &user),
        ("PGPASSWORD", &password),
        ("PGDATABASE", name),
    ];
    let mut dump = tokio::process::Command::new(tool("pg_dump"));
    let done = dump.args(["--schema-only", "--restrict-key=holdfast"]).envs(envs).output().await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    sha256(&done.stdout)
}

/// Names of databases that hold `part`.
pub async fn named(part: &str) -> Vec<String> {
    let sql = "SELECT datname::text FROM pg_database WHERE position($1 IN datname) > 0 ORDER BY 1";
    sqlx::query_scalar(sql).bind(part).fetch_all(&mut connect("postgres").await).await.unwrap()
}

/// A database with `rows` rows in tables that refer to each other, with a sequence, a view, an index and privileges; two
/// with the same `seed` are the same.
pub fn auction(seed: u32, rows: u32) -> String {
    let bids = rows * 3;
    format!(
        "CREATE TABLE lots (id bigint PRIMARY KEY, title text NOT NULL, note text);
         INSERT INTO lots SELECT n, 'lot ' || n || ' of {seed}', md5((n * {seed})::text) || md5((n + {seed})::text) FROM generate_series(1, {rows}) n;
         CREATE TABLE bids (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, lot bigint NOT NULL REFERENCES lots, cents int CHECK (cents > 0));
         INSERT INTO bids (lot, cents) SELECT 1 + n % {rows}, n + {seed} FROM generate_series(1, {bids}) n;
         CREATE INDEX bids_of_lot ON bids (lot, cents);
         CREATE VIEW best AS SELECT lot, max(cents) AS cents FROM bids GROUP BY lot;
         GRANT SELECT ON best TO PUBLIC;
         COMMENT ON TABLE lots IS 'of {seed}'",
    )
}
