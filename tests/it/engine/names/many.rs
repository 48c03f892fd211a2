//! Thousands of generated names: each is refused with 422, or stands in its row and reaches the server letter by letter.
//! `HOLDFAST_NAMES` says how many; `HOLDFAST_CHAOS_SEED` repeats a run.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use support::{
    App, Database, TargetSpec, WorkerSpec,
    database::{self, quoted},
    stack,
};

use super::Canary;
use crate::{
    chaos::campaign::{Rng, number, seed},
    engine::one_attempt,
};

/// What means something to libpq, to a shell, to SQL, to a terminal, to a file of lines or to a URL.
const PIECES: &[&str] = &[
    "-",
    "--",
    "=",
    "'",
    "\"",
    "\\",
    "\n",
    "\r",
    "\t",
    "\0",
    "\u{1}",
    ",",
    ";",
    ":",
    "/",
    "../",
    " ",
    "%",
    "%00",
    "%s",
    "$(id)",
    "`id`",
    "|",
    "&",
    ">",
    "*",
    "?",
    "[a-z]",
    "{",
    "}",
    "@",
    "#",
    "host=127.0.0.1",
    " port=PORT",
    "dbname=",
    "user=",
    "hostaddr=127.0.0.1",
    "sslmode=disable",
    "service=x",
    "passfile=/etc/passwd",
    "options=-c",
    "postgresql://127.0.0.1:PORT/",
    "postgres://u:p@127.0.0.1:PORT/x?",
    "127.0.0.1",
    "localhost",
    ":PORT",
    "127.0.0.1:PORT",
    "--file=/tmp/x",
    "--host=127.0.0.1",
    "-hlocalhost",
    "'; DROP TABLE me; --",
    "\" OR 1=1",
    "/*",
    "*/",
    "ü",
    "☃",
    "データ",
    "\u{202e}",
    "\u{feff}",
    "e\u{301}",
    "\u{1f600}",
    "A",
    "z",
    "0",
    "items",
    "template1",
    "pg_",
    "aaaaaaaaaaaaaaaaaaaa",
];

fn name(rng: &mut Rng, port: u16) -> String {
    let parts = rng.below(6);
    let text: String = (0..parts).map(|_| PIECES[rng.below(PIECES.len())]).collect();
    text.replace("PORT", &port.to_string())
}

/// What may be asked for: what [`shared::name`] promises, said once more.
fn is_database(text: &str) -> bool {
    (1..=63).contains(&text.len()) && !text.contains('\0')
}

fn is_user(text: &str) -> bool {
    // Of the pieces: those that no login can carry.
    let impossible = |c: char| c.is_control() || ",\u{202e}\u{1f600}".contains(c);
    is_database(text) && !text.contains(impossible)
}

fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    (1..=253).contains(&text.len()) && text.chars().all(plain) && !text.starts_with(['-', '.', '/'])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_names_stand_in_their_rows_or_are_422() {
    let count = number("HOLDFAST_NAMES").unwrap_or(10_000);
    let seed = seed();
    eprintln!("seed {seed}, {count} names");
    let mut app = App::spawn().await;
    let canary = Canary::sit().await;
    // Nobody works for this group: what is asked for stays as it was asked.
    let spec = TargetSpec { target: json!({ "worker_group": "nobody" }), ..TargetSpec::of("paper") };
    let target = app.target_with(&spec).await;
    let paper: Value = app.value("SELECT to_jsonb(t) FROM targets t").await;
    let tag = &stack::fresh("n")[10..];
    let mut rng = Rng::new(seed);
    let names: Vec<(u64, String)> = (0..count).map(|n| (n, name(&mut rng, canary.port))).collect();
    let (app, target, paper) = (&app, &target, &paper);
    let accepted: Vec<Option<String>> = stream::iter(&names)
        .map(|(n, name)| async move {
            let own = format!("{tag}-{n}");
            let server =
                json!({ "name": own, "engine": "postgres", "host": "127.0.0.1", "port": 1, "tls_mode": "disable" });
            let over = |mut base: Value, field: &str| {
                base[field] = name.as_str().into();
                base
            };
            let (kind, path, body, may) = match n % 5 {
                0 => {
                    let body = json!({
                        "name": own, "service_id": paper["service_id"], "server_id": paper["server_id"],
                        "backup_credential_id": paper["backup_credential_id"], "stores": ["disk"],
                    });
                    ("database", "/v1/targets".to_owned(), over(body, "database"), is_database(name))
                }
                1 => {
                    let body = json!({ "name": own, "password": "planted-in-thousands" });
                    ("user", "/v1/credentials".to_owned(), over(body, "user_name"), is_user(name))
                }
                2 => ("host", "/v1/servers".to_owned(), over(server, "host"), is_host(name)),
                3 => {
                    let body = over(server, "maintenance_database");
                    ("maintenance", "/v1/servers".to_owned(), body, is_database(name))
                }
                _ => {
                    let body = json!({ "tables": [{ "schema": "public", "table": name }] });
                    ("table", format!("/v1/targets/{target}/backups"), body, is_database(name))
                }
            };
            let answer = app.client.post(&path, body).await;
            let status = answer.status.as_u16();
            assert_eq!(
                status,
                if !may {
                    422
                } else if kind == "table" {
                    202
                } else {
                    201
                },
                "{kind} {name:?}: {}",
                answer.text
            );
            assert!(!answer.text.contains("planted-in-thousands"), "{kind} {name:?}");
            may.then(|| format!("{kind} {name}"))
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let accepted: Vec<String> = accepted.into_iter().flatten().collect();
    assert!(accepted.len() > names.len() / 4 && accepted.len() < names.len(), "{} were accepted", accepted.len());
    let rows: Vec<String> = app
        .values(&format!(
            "SELECT 'database ' || database FROM targets WHERE name LIKE '{tag}%'
             UNION ALL SELECT 'user ' || user_name FROM credentials WHERE name LIKE '{tag}%'
             UNION ALL SELECT 'host ' || host FROM servers WHERE name LIKE '{tag}%' AND host <> '127.0.0.1'
             UNION ALL SELECT 'maintenance ' || maintenance_database FROM servers WHERE name LIKE '{tag}%' AND maintenance_database <> 'postgres'
             UNION ALL SELECT 'table ' || (payload #>> '{{tables,0,table}}') FROM jobs"
        ))
        .await;
    // Those that are as the others' defaults cannot be told from them.
    let told = |text: &String| text != "host 127.0.0.1" && text != "maintenance postgres";
    let mut asked: Vec<String> = accepted.into_iter().filter(told).collect();
    let mut rows = rows;
    asked.sort();
    rows.sort();
    assert_eq!(rows.len(), asked.len());
    for (row, asked) in rows.iter().zip(&asked) {
        assert_eq!(row, asked);
    }
    canary.was_never_heard();
    app.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_tables_are_dumped_by_their_names() {
    let count = usize::try_from(number("HOLDFAST_NAMES").unwrap_or(10_000) / 10).unwrap().min(3000);
    let mut app = App::spawn().await;
    let canary = Canary::sit().await;
    let mut rng = Rng::new(seed());
    let mut names = BTreeSet::new();
    while names.len() < count {
        let name = name(&mut rng, canary.port);
        if is_database(&name) {
            names.insert(name);
        }
    }
    let tables: Vec<String> = names.iter().map(|name| format!("CREATE TABLE {} ()", quoted(name))).collect();
    let source = Database::create(&tables.join(";")).await;
    let _worker = app.worker("one").await;
    let target = app.target(&source).await;
    // A tenth of them at once: each must be meant, and no other.
    let names: Vec<String> = names.into_iter().collect();
    for some in names.chunks(count.div_ceil(10)) {
        let tables: Vec<Value> = some.iter().map(|name| json!({ "schema": "public", "table": name })).collect();
        let job = app.client.post(&format!("/v1/targets/{target}/backups"), json!({ "tables": tables })).await.id();
        let job = app.client.job_is(&job, "succeeded").await;
        let listed = super::super::options::listing(&app, job["save_id"].as_str().unwrap()).await;
        let found = listed.lines().filter(|line| line.contains(" TABLE DATA ")).count();
        assert_eq!(found, some.len());
    }
    canary.was_never_heard();
    app.holds().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_asked_for_the_very_database_and_user() {
    let count = number("HOLDFAST_NAMES").unwrap_or(10_000) / 200;
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let canary = Canary::sit().await;
    let mut rng = Rng::new(seed());
    let _worker = app.worker_with(&WorkerSpec { slots: 4, ..WorkerSpec::named("one") }).await;
    let mut asked = Vec::new();
    while asked.len() < usize::try_from(count).unwrap() {
        let name = name(&mut rng, canary.port);
        let is_user = asked.len() % 2 == 1;
        if !(if is_user { is_user_of(&name) } else { is_database(&name) && !database::exists(&name).await }) {
            continue;
        }
        let spec = if is_user {
            TargetSpec { backup: (name.clone(), "no password of anybody".to_owned()), ..TargetSpec::of("postgres") }
        } else {
            TargetSpec::of(&name)
        };
        let target = app.target_with(&spec).await;
        asked.push((app.backup(&target).await, is_user, name));
    }
    for (job, is_user, name) in &asked {
        let job = app.client.job_until(job, "over", |job| job["finished_at"].is_string()).await;
        assert_eq!(job["state"], "failed", "{name:?}: {job:#}");
        let error = &job["error"];
        let wanted = if *is_user { "authentication_failed" } else { "database_missing" };
        assert_eq!(error["code"], wanted, "{name:?}: {error:#}");
        // The server's own words name whom it was asked for.
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("\"{name}\"")), "{name:?}: {message}");
    }
    canary.was_never_heard();
    app.holds().await;
}

/// A user that the server does not have.
fn is_user_of(name: &str) -> bool {
    is_user(name) && !["postgres"].contains(&name)
}
