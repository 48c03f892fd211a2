//! Plain SQL that people bring: all of it is a new database, or none of it is anywhere, and nothing but SQL is done.

mod crash;
mod tricks;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{App, Database, Digest, TargetSpec, WorkerSpec, database, digest, stack};

use super::import::{dumped, half_sent, import, packed, pg_dump, running};
use crate::http::cast;

/// What people's dumps are like that are to be had by whoever restores.
const BARE: [&str; 3] = ["--format=plain", "--no-owner", "--no-privileges"];

/// With rows, names and texts that are something else to psql where it reads them as its own.
const ODD: &str = r#"
    CREATE TABLE odd (id int PRIMARY KEY, v text);
    INSERT INTO odd VALUES (1, E'\restrict abc'), (2, E'\\restrict abc'), (3, E'\\.'), (4, E'\\! touch /tmp/x'), (5, ':HOST :''x'''),
        (6, E'-- PostgreSQL database dump complete\n--\n\n'), (7, NULL), (8, ''), (9, E'\\unrestrict holdfast'), (10, 'ä€😀');
    CREATE TABLE texts (v text);
    INSERT INTO texts SELECT v FROM odd;
    CREATE TABLE "a "" \! b" ("c:d" int DEFAULT 7, e text GENERATED ALWAYS AS ('\!') STORED);
    INSERT INTO "a "" \! b" VALUES (1), (2);
    CREATE FUNCTION said() RETURNS text LANGUAGE sql AS $body$ SELECT '\! touch x; COMMIT;' $body$;
    CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := upper(NEW.v); RETURN NEW; END';
    CREATE TRIGGER stamp BEFORE INSERT ON texts FOR EACH ROW EXECUTE FUNCTION stamped();
    CREATE VIEW shouted AS SELECT upper(v) AS v FROM odd;
    CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM odd;
    CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO parts VALUES (1, '2026-02-03');
    CREATE TABLE holdfast_guard (id int PRIMARY KEY, missing int REFERENCES holdfast_guard DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO holdfast_guard VALUES (1, 1);
    CREATE TABLE lots (id bigint PRIMARY KEY, title text NOT NULL);
    INSERT INTO lots SELECT n, repeat('lot ' || n, 40) FROM generate_series(1, 20000) n;
    CREATE TABLE bids (id bigint GENERATED ALWAYS AS IDENTITY, lot bigint REFERENCES lots, cents int);
    INSERT INTO bids (lot, cents) SELECT 1 + n % 20000, n FROM generate_series(1, 5000) n"#;

/// A plain dump of a database of this kind.
async fn plain(app: &App, sql: &str) -> Vec<u8> {
    let source = Database::create(sql).await;
    let bytes = std::fs::read(dumped(app, &source.name, "few.sql", &BARE)).unwrap();
    source.remove().await;
    bytes
}

/// What `pg_dump` says of the structure, whoever owns it.
fn schema(name: &str) -> String {
    let args = ["--schema-only", "--no-owner", "--no-privileges", "--restrict-key=holdfast"];
    pg_dump(name, &args)
}

/// Of a failed import neither the database nor one under a name of its own is left, and its job is over.
async fn nothing_is_left(app: &App, wanted: &str) {
    assert!(!database::exists(wanted).await, "{wanted} is there");
    let jobs: Vec<String> = app.values("SELECT replace(id::text, '-', '') FROM jobs WHERE kind = 'import'").await;
    for job in jobs {
        assert_eq!(digest::named(&job).await, Vec::<String>::new());
    }
    let running: i64 = app.value("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')").await;
    let saves: i64 = app.value("SELECT count(*) FROM saves WHERE origin = 'import'").await;
    assert_eq!((running, saves), (0, 0));
}

async fn last_job(app: &App) -> Value {
    let job: String = app.value("SELECT id::text FROM jobs WHERE kind = 'import' ORDER BY id DESC LIMIT 1").await;
    app.client.job(&job).await
}

#[tokio::test]
async fn a_plain_dump_comes_back_whole_however_it_is_packed() {
    let source = Database::create(ODD).await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let (before, structure) = (Digest::of(&source.name).await, schema(&source.name));
    let file = dumped(&app, &source.name, "odd.sql", &BARE);
    let inserts =
        dumped(&app, &source.name, "inserts.sql", &[&BARE[..], &["--inserts", "--rows-per-insert=100"]].concat());
    let bytes = std::fs::read(&file).unwrap();
    let length = bytes.len();
    assert!(String::from_utf8_lossy(&bytes).contains("\n\\restrict abc\n"), "no row begins like the command");
    for (what, encoding, bytes) in [
        ("as it is", None, bytes),
        ("in gzip", None, packed(&file, "gzip")),
        ("in zstd, said", Some("zstd"), packed(&file, "zstd")),
        ("as statements", None, std::fs::read(&inserts).unwrap()),
    ] {
        let copy = Database { name: stack::fresh("new") };
        let answer = import(&app, &target, &format!("?into={}", copy.name), encoding, bytes).await;
        let location = answer.header("location").map(str::to_owned);
        let body = answer.expect(201);
        let job = &body["job"];
        assert_eq!(location, Some(format!("/v1/jobs/{}", job["id"].as_str().unwrap())), "{what}");
        assert!(body.get("save").is_none(), "{what}: {body:#}");
        assert_eq!(
            (&job["kind"], &job["state"], &job["save_id"]),
            (&json!("import"), &json!("succeeded"), &Value::Null)
        );
        let result = &job["result"];
        assert_eq!(result["database"], copy.name, "{result:#}");
        assert_eq!((&result["tables"], &result["rows"]), (&json!(8), &json!(25_025)), "{what}: {result:#}");
        assert!(result["tool_version"].as_str().unwrap().starts_with("15."), "{result:#}");
        assert!(result["database_bytes"].as_u64().unwrap() > 1_000_000, "{result:#}");
        if what != "as statements" {
            assert_eq!(result["raw_bytes"], length, "{what}");
        }
        let after = Digest::of(&copy.name).await;
        assert_eq!((&after.rows, &after.sequences), (&before.rows, &before.sequences), "{what}");
        assert_eq!(schema(&copy.name), structure, "{what}");
        let comment =
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()";
        assert!(copy.text(comment).await.starts_with("holdfast: restored, "), "{what}");
        copy.remove().await;
    }
    assert_eq!(Digest::of(&source.name).await, before, "the target's own database has changed");
    let events: Vec<String> = app.values("SELECT type FROM outbox WHERE type = 'import.completed'").await;
    assert_eq!(events.len(), 4);
    let ends: Vec<Value> = app
        .values("SELECT detail FROM audit WHERE action = 'target.sql_imported' AND outcome = 'allowed' ORDER BY id")
        .await;
    assert_eq!(ends.len(), 4);
    assert_eq!((&ends[0]["bytes"], &ends[0]["result"]), (&json!(length), &json!("created")), "{ends:?}");
    app.holds().await;
}

#[tokio::test]
async fn what_is_cut_off_anywhere_leaves_nothing() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let file = dumped(&app, &source.name, "small.sql", &BARE);
    let good = std::fs::read_to_string(&file).unwrap();
    let at = |text: &str| good.find(text).unwrap_or_else(|| panic!("no {text}"));
    let rows = at("FROM stdin;\n");
    let wanted = stack::fresh("new");
    for cut in [
        at("SET statement_timeout"),
        at("CREATE TABLE"),
        rows,
        // Inside rows, of which psql would keep what came, and between two of them.
        rows + 12,
        rows + 3000,
        rows + good[rows + 3000..].find('\n').unwrap() + 1,
        at("\n\\.\n") + 1,
        at("\n\\.\n") + 3,
        at("ADD CONSTRAINT"),
        at("-- PostgreSQL database dump complete"),
        at("database dump complete") + 10,
        at("\n\\unrestrict ") + 1,
        good.trim_end().len() - 1,
    ] {
        let refused =
            import(&app, &target, &format!("?into={wanted}"), None, good.as_bytes()[..cut].to_vec()).await.expect(422);
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("is not whole") && detail.contains(&format!("at byte {cut} ")), "{refused}");
        assert_eq!(last_job(&app).await["error"]["code"], "upload_incomplete");
        nothing_is_left(&app, &wanted).await;
    }
    let zipped = packed(&file, "gzip");
    for (bytes, code, words) in [
        (zipped[..zipped.len() - 5].to_vec(), "upload_unreadable", "cut off"),
        ([zipped.clone(), b"more".to_vec()].concat(), "upload_unreadable", "damaged"),
        (format!("{good}SELECT 1;\n").into_bytes(), "upload_incomplete", "something follows"),
        (good.replace("lot 500", "lot \x00500").into_bytes(), "upload_incomplete", "byte 0"),
        // Not of the text, but of what it says.
        (good.replace("\nCREATE TABLE public.lots", "\nCREATE TABEL public.lots").into_bytes(), "sql_failed", "TABEL"),
        (good.replace("\t5000\n", "\tmany\n").into_bytes(), "sql_failed", "\"many\""),
        (good.replace("lot bigint", "lot bigint REFERENCES nobody").into_bytes(), "sql_failed", "nobody"),
        (
            good.replace("--\n-- Name: lots;", "ALTER SCHEMA public OWNER TO nobody_here;\n--\n-- Name: lots;")
                .into_bytes(),
            "role_missing",
            "nobody_here",
        ),
        // The end stands among the rows, and psql takes what comes after it for rows, too.
        (among_rows(&good), "sql_failed", "after the dump"),
    ] {
        let refused = import(&app, &target, &format!("?into={wanted}"), None, bytes).await.expect(422);
        assert!(refused["detail"].as_str().unwrap().contains(words), "{words}: {refused}");
        assert_eq!(last_job(&app).await["error"]["code"], code, "{words}");
        nothing_is_left(&app, &wanted).await;
    }
    import(&app, &target, &format!("?into={wanted}"), None, good.into_bytes()).await.expect(201);
    Database { name: wanted }.remove().await;
    app.holds().await;
}

/// The dump cut off inside the rows of a table of one text, which takes any line, with the end that it should have.
fn among_rows(good: &str) -> Vec<u8> {
    let head = &good[..good.find("--\n-- Name: ").unwrap()];
    let end = &good[good.find("--\n-- PostgreSQL database dump complete").unwrap()..];
    format!("{head}CREATE TABLE public.t (v text);\nCOPY public.t (v) FROM stdin;\na row\n{end}").into_bytes()
}

#[tokio::test]
async fn who_may_not_and_what_is_not_to_be_is_refused_and_nothing_begun() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let service = app.service().await;
    let before = Digest::of(&source.name).await;
    let good = std::fs::read(dumped(&app, &source.name, "small.sql", &BARE)).unwrap();
    let wanted = stack::fresh("new");
    let path = format!("/v1/targets/{target}/import?into={wanted}");
    for (name, roles, status) in [
        ("everywhere", vec![("admin", None)], 403),
        ("here", vec![("admin", Some(service.as_str()))], 403),
        ("little", vec![("operator", Some(service.as_str()))], 403),
        ("nobody", vec![], 404),
    ] {
        let client = cast::admin(&app, name, &roles).await;
        let request = client.request(reqwest::Method::POST, &path).body(good.clone());
        let refused = client.send(request).await.expect(status);
        assert_eq!(
            refused["detail"].as_str().unwrap().contains("target.import_sql"),
            name.ends_with("here"),
            "{refused}"
        );
    }
    let cluster = b"--\n-- PostgreSQL database cluster dump\n--\n\nSET x = 1;\n".to_vec();
    let archive = std::fs::read(dumped(&app, &source.name, "small.dump", &["--format=custom"])).unwrap();
    let into = format!("?into={wanted}");
    for (query, bytes, words) in [
        ("", good.clone(), "name a new database with into="),
        ("?trust=true", good.clone(), "needs into"),
        (&*format!("{into}&note=x"), good.clone(), "of a save"),
        (&*format!("?into={}", source.name), good.clone(), "the target's own"),
        (&*into, archive, "an archive"),
        (&*into, cluster, "pg_dumpall"),
        (&*into, b"SELECT 1;\n".to_vec(), "not pg_dump's"),
        (&*into, Vec::new(), "empty"),
    ] {
        let refused = import(&app, &target, query, None, bytes).await.expect(422);
        assert!(refused.to_string().contains(words), "{words}: {refused}");
    }
    let begun: i64 = app.value("SELECT count(*) FROM jobs WHERE kind = 'import'").await;
    assert_eq!(begun, 0);
    nothing_is_left(&app, &wanted).await;

    // A database that is there is refused, and stays as it is.
    let there = Database::create("CREATE TABLE mine AS SELECT 1 AS n").await;
    let theirs = Digest::of(&there.name).await;
    let refused = import(&app, &target, &format!("?into={}", there.name), None, good.clone()).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("exists already"), "{refused}");
    assert_eq!(Digest::of(&there.name).await, theirs);
    assert_eq!(Digest::of(&source.name).await, before);
    app.holds().await;
}

#[tokio::test]
async fn a_credential_that_may_do_more_than_it_should_needs_somebodys_word() {
    let source = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let good = std::fs::read(dumped(&app, &source.name, "t.sql", &BARE)).unwrap();
    let mut server = database::connect("postgres").await;
    let (writer, maker) = (stack::fresh("writer"), stack::fresh("maker"));
    for (role, more) in [(&writer, "IN ROLE pg_write_server_files"), (&maker, "CREATEROLE")] {
        let sql = format!("CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'a role needs one' {more}");
        database::run(&mut server, &sql).await;
    }
    let super_user = (stack::setting("TARGET_SUPER_USER"), stack::setting("TARGET_SUPER_PASSWORD"));
    let word = "a role needs one".to_owned();
    for (restore, words) in [
        (super_user, "a superuser"),
        ((writer.clone(), word.clone()), "a member of pg_write_server_files"),
        ((maker.clone(), word), "one who may create roles"),
    ] {
        let target = app.target_with(&TargetSpec { restore, ..TargetSpec::of(&source.name) }).await;
        let copy = Database { name: stack::fresh("new") };
        let into = format!("?into={}", copy.name);
        let refused = import(&app, &target, &into, None, good.clone()).await.expect(422);
        assert!(refused["detail"].as_str().unwrap().contains(words), "{words}: {refused}");
        assert_eq!(last_job(&app).await["error"]["code"], "credential_too_powerful");
        nothing_is_left(&app, &copy.name).await;
        let done = import(&app, &target, &format!("{into}&trust=true"), None, good.clone()).await.expect(201);
        assert!(done["job"]["result"]["warnings"][0].as_str().unwrap().contains(words), "{done:#}");
        assert_eq!(Digest::of(&copy.name).await.rows, Digest::of(&source.name).await.rows);
        copy.remove().await;
    }
    for role in [writer, maker] {
        database::run(&mut server, &format!("DROP ROLE {role}")).await;
    }
    app.holds().await;
}

#[tokio::test]
async fn an_upload_that_breaks_or_is_cancelled_leaves_nothing_and_shows_how_far_it_was() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = app.target(&source).await;
    let good = std::fs::read(dumped(&app, &source.name, "small.sql", &BARE)).unwrap();
    let wanted = stack::fresh("new");
    let into = format!("?into={wanted}");
    let half = &good[..good.len() / 2];

    let stream = half_sent(&app, &target, &into, half).await;
    let job = running(&app).await;
    let shown = app.client.job_until(&job, "shows progress", |job| job["progress"]["raw_bytes"] == half.len()).await;
    assert_eq!(shown["phase"], "importing");
    assert!(!database::exists(&wanted).await, "the name shows what is not whole");
    // One at a time makes a database of this name.
    let busy = import(&app, &target, &into, None, good.clone()).await.expect(409);
    assert!(busy["detail"].as_str().unwrap().contains("another job"), "{busy}");
    drop(stream);
    let failed = app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "upload_broken", "{failed:#}");
    nothing_is_left(&app, &wanted).await;

    let _stream = half_sent(&app, &target, &into, half).await;
    let job = running(&app).await;
    app.client.job_until(&job, "is on its way", |job| job["phase"] == "importing").await;
    app.client.post(&format!("/v1/jobs/{job}/cancel"), json!(null)).await.expect(202);
    app.client.job_is(&job, "cancelled").await;
    nothing_is_left(&app, &wanted).await;
    let again = app.client.post(&format!("/v1/jobs/{job}/retry"), json!({})).await.expect(409);
    assert!(again["detail"].as_str().unwrap().contains("send them again"), "{again}");
    app.holds().await;
}

/// A directory with programs in the place of psql and `pg_dump`, which say that they are of this version.
fn programs(app: &App, version: &str, psql: &str) -> PathBuf {
    let bin = app.dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let says = format!("echo 'pg_dump (PostgreSQL) {version}'");
    for (name, does) in [("pg_dump", says.as_str()), ("psql", psql)] {
        let file = bin.join(name);
        std::fs::write(&file, format!("#!/bin/sh\n{does}\n")).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    bin
}

#[tokio::test]
async fn a_psql_with_known_holes_gets_no_text_of_people() {
    let source = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    let mut app = App::spawn().await;
    let ran = app.dir.path().join("ran");
    let bin = programs(&app, "15.18", &format!("touch {}", ran.display()));
    let _worker = app.worker_with(&WorkerSpec { pg_bindirs: vec![bin], ..WorkerSpec::named("old") }).await;
    let target = app.target(&source).await;
    let good = std::fs::read(dumped(&app, &source.name, "t.sql", &BARE)).unwrap();
    let wanted = stack::fresh("new");
    let refused = import(&app, &target, &format!("?into={wanted}"), None, good).await.expect(422);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("15.18") && detail.contains("15.19"), "{refused}");
    assert_eq!(last_job(&app).await["error"]["code"], "client_too_old");
    assert!(!ran.exists(), "it was run");
    nothing_is_left(&app, &wanted).await;
    app.holds().await;
}

#[tokio::test]
async fn a_psql_that_is_made_to_write_a_file_writes_nothing() {
    let source = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    let mut app = App::spawn().await;
    let written = app.dir.path().join("written");
    // In a shell of its own: the limit's signal ends that, and psql goes on to claim that all is well.
    let psql = format!("cat > /dev/null; (echo something > {}); true", written.display());
    let bin = programs(&app, "15.20", &psql);
    let _worker = app.worker_with(&WorkerSpec { pg_bindirs: vec![bin], ..WorkerSpec::named("made") }).await;
    let target = app.target(&source).await;
    let good = std::fs::read(dumped(&app, &source.name, "t.sql", &BARE)).unwrap();
    let wanted = stack::fresh("new");
    import(&app, &target, &format!("?into={wanted}"), None, good).await.expect(422);
    // Whoever runs the tests as root sees the file, without a byte in it.
    assert_eq!(std::fs::read(&written).unwrap_or_default(), b"");
    nothing_is_left(&app, &wanted).await;
    app.holds().await;
}
