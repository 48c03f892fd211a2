//! Which client makes saves of which server, and which server takes them (design §12): every cell is tried, and the table
//! of docs/operations.md is what came of it. `HOLDFAST_WRITE_DOCS=1` writes it.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};
use support::{App, Major, TargetSpec, WorkerSpec, database, database::run, stack};

use super::one_attempt;

const CLIENTS: [u32; 3] = [15, 16, 18];
const SERVERS: [u32; 5] = [14, 15, 16, 17, 18];

/// What every one of these versions knows, and what is written differently from version to version.
const CONTENT: &str = "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('sad', 'happy');
    CREATE FUNCTION s.touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
    CREATE TABLE s.lots (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n serial NOT NULL, m s.mood DEFAULT 'sad', name text NOT NULL UNIQUE,
        price numeric CHECK (price > 0), twice numeric GENERATED ALWAYS AS (price * 2) STORED);
    CREATE TABLE s.bids (lot int NOT NULL REFERENCES s.lots, at date) PARTITION BY RANGE (at);
    CREATE TABLE s.bids_1 PARTITION OF s.bids DEFAULT; CREATE INDEX ON s.bids (at);
    CREATE STATISTICS s.counted ON n, price FROM s.lots; CREATE VIEW s.cheap AS SELECT id, name FROM s.lots WHERE price < 10;
    CREATE MATERIALIZED VIEW s.total AS SELECT count(*) FROM s.lots;
    CREATE TRIGGER touched BEFORE UPDATE ON s.lots FOR EACH ROW EXECUTE FUNCTION s.touch();
    CREATE POLICY seen ON s.lots USING (price > 0); COMMENT ON TABLE s.lots IS 'sold';
    INSERT INTO s.lots (name, price) SELECT 'lot ' || g, g FROM generate_series(1, 200) g;
    INSERT INTO s.bids SELECT id, '2020-01-01'::date + id FROM s.lots; SELECT lo_from_bytea(0, 'large')";

const COUNTED: &str = "SELECT (SELECT md5(string_agg(l::text, ',' ORDER BY id)) FROM s.lots l) || ' ' ||
    (SELECT md5(string_agg(b::text, ',' ORDER BY at)) FROM s.bids b) || ' ' || (SELECT last_value FROM s.lots_id_seq) || ' ' ||
    (SELECT count(*) FROM s.cheap) || ' ' || (SELECT count(*) FROM pg_constraint WHERE connamespace = 's'::regnamespace AND contype IN ('p', 'u', 'f', 'c')) || ' ' ||
    (SELECT count(*) FROM pg_index WHERE indisvalid AND indrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 's'::regnamespace)) || ' ' ||
    (SELECT count(*) FROM pg_largeobject_metadata)";

/// A server of one of the versions.
struct Server {
    major: u32,
    /// None: the stack's own.
    other: Option<Major>,
    source: String,
}

impl Server {
    async fn start(major: u32) -> Self {
        let other = if major == 15 { None } else { Some(Major::start(&format!("pg{major}")).await) };
        let server = Self { major, other, source: stack::fresh("versions") };
        let mut session = server.connect("postgres").await;
        run(&mut session, &format!("CREATE DATABASE {}", server.source)).await;
        run(&mut server.connect(&server.source).await, CONTENT).await;
        server
    }

    async fn connect(&self, name: &str) -> PgConnection {
        match &self.other {
            Some(major) => major.connect(name).await,
            None => database::connect(name).await,
        }
    }

    /// A target here that workers of this group work for.
    fn target(&self, group: &str) -> TargetSpec {
        let spec = match &self.other {
            Some(major) => major.target(&self.source),
            // The client programs of other majors speak no TLS.
            None => TargetSpec { tls_mode: "disable".to_owned(), tls_ca: None, ..super::owned(&self.source) },
        };
        TargetSpec { target: json!({ "worker_group": group }), ..spec }
    }

    async fn text(&self, name: &str, sql: &str) -> String {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connect(name).await).await.unwrap()
    }

    async fn drop(&self, name: &str) {
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        run(&mut self.connect("postgres").await, &sql).await;
    }
}

async fn ended(app: &App, job: &str) -> Value {
    app.client.job_until(job, "ended", |job| job["finished_at"].is_string()).await
}

#[tokio::test]
async fn every_client_and_server_does_what_the_table_says() {
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let mut servers = Vec::new();
    for major in SERVERS {
        servers.push(Server::start(major).await);
    }
    let bindir = |major: u32| match servers.iter().find(|server| server.major == major).unwrap().other.as_ref() {
        Some(other) => other.bindir.clone(),
        None => PathBuf::from(stack::setting("PG_BINDIR")),
    };
    let mut workers = Vec::new();
    for client in CLIENTS {
        let name = format!("c{client}");
        let spec =
            WorkerSpec { groups: vec![name.clone()], pg_bindirs: vec![bindir(client)], ..WorkerSpec::named(&name) };
        workers.push(app.worker_with(&spec).await);
    }
    let pg_bindirs = CLIENTS.map(bindir).to_vec();
    let all = WorkerSpec { groups: vec!["all".to_owned()], pg_bindirs, slots: 3, ..WorkerSpec::named("all") };
    workers.push(app.worker_with(&all).await);

    let mut targets = BTreeMap::new();
    for server in &servers {
        for group in ["c15", "c16", "c18", "all"] {
            targets.insert((server.major, group.to_owned()), app.target_with(&server.target(group)).await);
        }
    }
    let mut table = String::from(
        "| saved by `pg_dump` | of server | into 14 | 15 | 16 | 17 | 18 |\n|---|---|---|---|---|---|---|\n",
    );
    for client in CLIENTS {
        for server in &servers {
            let target = &targets[&(server.major, format!("c{client}"))];
            let job = ended(&app, &app.backup(target).await).await;
            if client < server.major {
                assert_eq!(job["error"]["code"], "client_too_old", "{client} of {}: {job:#}", server.major);
                writeln!(table, "| {client} | {} | no save: `client_too_old` | | | | |", server.major).unwrap();
                continue;
            }
            assert_eq!(job["state"], "succeeded", "{client} of {}: {job:#}", server.major);
            let save = job["save_id"].as_str().unwrap().to_owned();
            let cells = servers.iter().map(|into| cell(&app, &targets, client, server, into, &save));
            let cells = join_all(cells).await;
            writeln!(table, "| {client} | {} | {} |", server.major, cells.join(" | ")).unwrap();
        }
    }
    for server in &servers {
        server.drop(&server.source).await;
    }
    compare(&table);
    app.holds().await;
}

/// Restores a save into a server and tells what came of it.
async fn cell(
    app: &App,
    targets: &BTreeMap<(u32, String), String>,
    client: u32,
    of: &Server,
    into: &Server,
    save: &str,
) -> String {
    let target = &targets[&(into.major, "all".to_owned())];
    let name = stack::fresh("v");
    let body = json!({ "into": { "target_id": target, "database": name } });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    let job = ended(app, &job).await;
    let what = format!("a save by {client} of {} into {}", of.major, into.major);
    // A 15 of before 15.20 does not mark its columns; the table speaks of those that do.
    let marked = of.major == 15 && client != 15 && into.major > 15;
    if job["state"] == "succeeded" {
        assert_eq!(into.text(&name, COUNTED).await, of.text(&of.source, COUNTED).await, "{what}");
        into.drop(&name).await;
        return if marked { "no: `pg_attver`" } else { "yes" }.to_owned();
    }
    // Refused before anything was done, with the reason.
    assert_eq!(job["error"]["code"], "restore_incompatible", "{what}: {job:#}");
    let id = job["id"].as_str().unwrap();
    let phases: Vec<Option<String>> = app.values(&format!("SELECT phase FROM job_events WHERE job_id = '{id}'")).await;
    assert!(!phases.iter().flatten().any(|phase| phase == "restoring" || phase == "checking"), "{what}: {phases:?}");
    let left = format!("SELECT count(*)::text FROM pg_database WHERE datname LIKE '{name}%'");
    assert_eq!(into.text("postgres", &left).await, "0", "{what}: a database is left");
    let message = job["error"]["message"].as_str().unwrap();
    if message.contains("pg_attver") {
        assert!(marked, "{what}: {message}");
        "no: `pg_attver`".to_owned()
    } else if into.major < of.major {
        assert!(message.contains("the save is of a server of version"), "{what}: {message}");
        "no: older server".to_owned()
    } else {
        assert!(message.contains("transaction_timeout"), "{what}: {message}");
        // What a marked one is refused for is looked at first.
        if marked { "no: `pg_attver`" } else { "no: newer tools" }.to_owned()
    }
}

/// The table of the document is the one that was measured.
fn compare(table: &str) {
    const BEGIN: &str = "<!-- versions: written by the test parts::versions -->\n";
    const END: &str = "<!-- versions: end -->\n";
    let path = stack::root().join("docs/operations.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("HOLDFAST_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(found, table, "docs/operations.md is not what was measured: HOLDFAST_WRITE_DOCS=1 writes it");
    }
}
