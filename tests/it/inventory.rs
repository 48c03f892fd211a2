//! What a save says that it holds is what the server says, counted in another way; and what was restored is held against it.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod compared;

use std::{collections::BTreeMap, path::PathBuf};

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use support::{App, Database, Major, TargetSpec, WorkerSpec, database, stack};
use xxhash_rust::xxh3::xxh3_128;

/// Everything that a row may be, and settings under which an ordinary session would write most of it in another way.
const CONTENT: &str = r#"
    CREATE SCHEMA a; CREATE SCHEMA "B é";
    CREATE TABLE a.lots (id int, title text, note text, at timestamptz, raw bytea, price float8, span interval, twice int GENERATED ALWAYS AS (id * 2) STORED);
    INSERT INTO a.lots SELECT n, CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'two\nlines\r' WHEN 3 THEN E'tab\there \\N \\.' ELSE 'žluťoučký 🐎 ' || n END,
        CASE WHEN n % 3 = 0 THEN NULL ELSE '\N' END, '2026-03-29 01:59:59.123+00'::timestamptz + n * interval '1 hour',
        decode(md5(n::text), 'hex'), n / 3.0::float8, n * interval '1 day 2:03:04' FROM generate_series(1, 3000) n;
    CREATE TABLE "B é".lots (id int); INSERT INTO "B é".lots SELECT generate_series(1, 7);
    CREATE TABLE a.same (t text, n numeric); INSERT INTO a.same SELECT 'same', 1.50 FROM generate_series(1, 1000);
    CREATE TABLE a.none (t text); CREATE TABLE a.nothing (); INSERT INTO a.nothing DEFAULT VALUES; INSERT INTO a.nothing DEFAULT VALUES;
    CREATE TABLE a.wide (id int, t text); INSERT INTO a.wide SELECT n, repeat(md5(n::text) || E'\n', 80000 * n) FROM generate_series(1, 3) n;
    CREATE TABLE a."we""ird.Täble" ("ID" int, "a b" text); INSERT INTO a."we""ird.Täble" VALUES (1, '\.'), (2, E'\\.\n');
    CREATE TABLE a.bids (lot int, at date) PARTITION BY RANGE (at);
    CREATE TABLE a.bids_1 PARTITION OF a.bids FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE a.bids_rest PARTITION OF a.bids DEFAULT;
    INSERT INTO a.bids SELECT n, '2020-06-01'::date + n FROM generate_series(1, 400) n;
    CREATE VIEW a.seen AS SELECT * FROM a.lots; CREATE MATERIALIZED VIEW a.counted AS SELECT count(*) FROM a.lots;
    SELECT lo_from_bytea(0, decode(repeat('00ff', 1500000), 'hex')), lo_create(0)"#;

const SETTINGS: [&str; 5] = [
    "timezone = 'Asia/Tokyo'",
    "bytea_output = 'escape'",
    "datestyle = 'German'",
    "intervalstyle = 'iso_8601'",
    "extra_float_digits = 0",
];

/// Rows, bytes, digest.
type Counts = BTreeMap<(String, String, String), (u64, u64, String)>;

/// What the server says, row by row.
async fn counted(session: &mut PgConnection) -> Counts {
    database::run(
        session,
        "SET datestyle = ISO; SET intervalstyle = postgres; SET extra_float_digits = 3; SET timezone = 'UTC';
         SET bytea_output = hex; SET search_path = ''",
    )
    .await;
    let tables = sqlx::query(
        "SELECT format('%I.%I', nspname, relname), nspname::text, relname::text,
                (SELECT string_agg(format('%I', attname), ', ' ORDER BY attnum) FROM pg_attribute
                  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '')
           FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
          WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut *session)
    .await
    .unwrap();
    let mut counts = Counts::new();
    for table in tables {
        let name: String = table.get(0);
        let columns = table.get::<Option<String>, _>(3).map(|columns| format!("({columns})")).unwrap_or_default();
        let copy = format!("COPY {name} {columns} TO STDOUT");
        let pieces: Vec<_> = session.copy_out_raw(&copy).await.unwrap().try_collect().await.unwrap();
        let text = pieces.concat();
        let rows: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').map(|row| &row[..row.len() - 1]).collect();
        let sql = format!("SELECT count(*) FROM ONLY {name}");
        let number: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *session).await.unwrap();
        assert_eq!(rows.len(), usize::try_from(number).unwrap(), "{name}");
        counts.insert(
            ("table".to_owned(), table.get(1), table.get(2)),
            sums(rows.iter().map(|row| (row.len(), xxh3_128(row)))),
        );
    }
    let objects =
        sqlx::query("SELECT oid, lo_get(oid) FROM pg_largeobject_metadata").fetch_all(&mut *session).await.unwrap();
    if !objects.is_empty() {
        let object = |row: &sqlx::postgres::PgRow| {
            let (oid, bytes): (sqlx::postgres::types::Oid, Vec<u8>) = (row.get(0), row.get(1));
            (bytes.len(), xxh3_128(&[&oid.0.to_be_bytes()[..], &bytes].concat()))
        };
        counts.insert(("large_objects".to_owned(), String::new(), String::new()), sums(objects.iter().map(object)));
    }
    counts
}

fn sums(rows: impl Iterator<Item = (usize, u128)>) -> (u64, u64, String) {
    let all = rows.fold((0_u64, 0_u64, 0_u128), |(rows, bytes, sum), (length, hash)| {
        (rows + 1, bytes + length as u64, sum.wrapping_add(hash))
    });
    (all.0, all.1, format!("{:032x}", all.2))
}

/// What the API says of a save.
async fn told(app: &App, save: &str) -> Value {
    let save = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    assert!(!save["manifest"]["warnings"].to_string().contains("inventory"), "{save:#}");
    save["manifest"]["inventory"].clone()
}

fn counts_of(inventory: &Value) -> Counts {
    let entry = |entry: &Value| {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let key = (text("kind"), text("schema"), text("name"));
        (key, (entry["rows"].as_u64().unwrap(), entry["bytes"].as_u64().unwrap(), text("digest")))
    };
    inventory["entries"].as_array().unwrap().iter().map(entry).collect()
}

fn check(inventory: &Value, counted: &Counts, what: &str) {
    assert_eq!(counts_of(inventory), *counted, "{what}");
    let sum = |n: fn(&(u64, u64, String)) -> u64| counted.values().map(n).sum::<u64>();
    assert_eq!(inventory["rows"], sum(|count| count.0), "{what}");
    assert_eq!(inventory["bytes"], sum(|count| count.1), "{what}");
    assert_eq!((&inventory["v"], &inventory["encoding"]), (&json!(1), &json!("UTF8")), "{what}");
}

/// As a superuser, who reads large objects too.
fn whole(database: &str) -> TargetSpec {
    let all = (stack::setting("TARGET_SUPER_USER"), stack::setting("TARGET_SUPER_PASSWORD"));
    TargetSpec { backup: all.clone(), restore: all, ..TargetSpec::of(database) }
}

async fn prepare(server: &mut PgConnection, name: &str) {
    for setting in SETTINGS {
        database::run(server, &format!("ALTER DATABASE {name} SET {setting}")).await;
    }
}

#[tokio::test]
async fn what_is_counted_is_what_the_server_holds() {
    let mut app = App::spawn().await;
    let own = Database::create(CONTENT).await;
    prepare(&mut database::connect("postgres").await, &own.name).await;
    let own_tools = PathBuf::from(stack::setting("PG_BINDIR"));
    let spec = |name: &str, bindir| WorkerSpec {
        groups: vec![name.to_owned()],
        pg_bindirs: vec![bindir],
        ..WorkerSpec::named(name)
    };
    let _fifteen = app.worker_with(&spec("c15", own_tools)).await;
    let grouped = |mut target: TargetSpec, group: &str| {
        target.target = json!({ "worker_group": group });
        target
    };
    let target = app.target_with(&grouped(whole(&own.name), "c15")).await;
    let save = app.saved(&target).await;
    check(&told(&app, &save).await, &counted(&mut own.session().await).await, "by 15");

    for major in ["16", "18"] {
        let server = Major::start(&format!("pg{major}")).await;
        let name = stack::fresh("counted");
        database::run(&mut server.connect("postgres").await, &format!("CREATE DATABASE {name}")).await;
        database::run(&mut server.connect(&name).await, CONTENT).await;
        prepare(&mut server.connect("postgres").await, &name).await;
        let group = format!("c{major}");
        let _worker = app.worker_with(&spec(&group, server.bindir.clone())).await;
        let target = app.target_with(&grouped(server.target(&name), &group)).await;
        let save = app.saved(&target).await;
        check(&told(&app, &save).await, &counted(&mut server.connect(&name).await).await, &format!("by {major}"));
        // The older server's database by the newer tools: their archive, its rows.
        let plain = TargetSpec { tls_mode: "disable".to_owned(), tls_ca: None, ..whole(&own.name) };
        let target = app.target_with(&grouped(plain, &group)).await;
        let save = app.saved(&target).await;
        check(&told(&app, &save).await, &counted(&mut own.session().await).await, &format!("of 15 by {major}"));
        let drop = format!("DROP DATABASE {name} WITH (FORCE)");
        database::run(&mut server.connect("postgres").await, &drop).await;
    }
    app.holds().await;
}

#[tokio::test]
async fn a_save_without_rows_and_one_of_a_part_say_what_they_hold() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let _worker = app.worker("one").await;
    let target = app.target(&source).await;
    for (body, names) in [
        (json!({ "mode": "schema" }), vec![]),
        (json!({ "mode": "all", "tables": [{ "schema": "public", "table": "lots" }] }), vec!["lots"]),
        (json!({ "mode": "data" }), vec!["bids", "lots"]),
    ] {
        let job = app.client.post(&format!("/v1/targets/{target}/backups"), body.clone()).await.id();
        let save = app.client.job_is(&job, "succeeded").await["save_id"].as_str().unwrap().to_owned();
        let found: Vec<String> = counts_of(&told(&app, &save).await).into_keys().map(|key| key.2).collect();
        assert_eq!(found, names, "{body}");
    }
    app.holds().await;
}
