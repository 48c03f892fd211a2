//! Whether saves are of use: decoded to their end, and restored on scratch servers; found to be of no use, and why; and how often.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod crash;
mod found;
mod mongo;
mod policy;
mod scratch;

use serde_json::{Value, json};
use support::{App, Database, TargetSpec, WorkerSpec, database, stack};

use crate::encrypted::{Key, encrypting, stop};

/// The stack's own servers as scratch servers: this test's databases are on them too.
pub(crate) fn scratch() -> String {
    let mongo = stack::setting("MONGO_URL");
    let (mongo, mongo_port) = mongo.trim_start_matches("mongodb://").trim_end_matches('/').split_once(':').unwrap();
    format!(
        "\n[scratch.pg]\nengine = \"postgres\"\nhost = {:?}\nport = {}\nuser = {:?}\npassword = {:?}\ntls_mode = \"verify_full\"\n\
         ca_file = {:?}\nallow_same_server = true\n\
         \n[scratch.docs]\nengine = \"mongodb\"\nhost = {mongo:?}\nport = {mongo_port}\ntls_mode = \"disable\"\n\
         allow_same_server = true\n",
        stack::setting("TARGET_HOST"),
        stack::setting("TARGET_PORT"),
        stack::setting("TARGET_SUPER_USER"),
        stack::setting("TARGET_SUPER_PASSWORD"),
        stack::setting("TARGET_CA"),
    )
}

pub(crate) fn drilling(name: &str) -> WorkerSpec {
    WorkerSpec { more: scratch(), ..WorkerSpec::named(name) }
}

/// Asks for a verification. The job's id.
async fn ask(app: &App, save: &str, depth: &str) -> String {
    app.client.post(&format!("/v1/saves/{save}/verify"), json!({ "depth": depth, "repair": false })).await.id()
}

/// A verification that came to its end, whatever it found. Its result.
async fn verify(app: &App, save: &str, depth: &str) -> Value {
    let job = ask(app, save, depth).await;
    app.client.job_is(&job, "succeeded").await["result"].clone()
}

async fn shown(app: &App, save: &str) -> Value {
    app.client.get(&format!("/v1/saves/{save}")).await.expect(200)
}

/// Databases of drills of this job on the target server.
async fn databases_of(job: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE position($1 IN datname) > 0")
        .bind(format!("__hf_{}", job.replace('-', "")))
        .fetch_all(&mut database::connect("postgres").await)
        .await
        .unwrap()
}

async fn events(app: &App) -> Vec<String> {
    app.values("SELECT type || ' ' || coalesce(data ->> 'depth', '') FROM outbox WHERE type LIKE 'save.%' AND type NOT LIKE 'save.comp%' ORDER BY position")
        .await
}

#[tokio::test]
async fn a_save_is_decoded_and_drilled_and_says_so() {
    let mut app = App::spawn().await;
    let source = Database::create(
        "CREATE TABLE lots (id bigint PRIMARY KEY, title text NOT NULL, state varchar(9) CHECK (state IN ('open', 'sold')));
         INSERT INTO lots SELECT n, 'lot ' || n, 'open' FROM generate_series(1, 1000) n;
         CREATE INDEX lots_title ON lots (title);
         CREATE VIEW open_lots AS SELECT id, title FROM lots WHERE state = 'open';
         CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS 'SELECT 2 * n';
         CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM lots;
         SELECT lo_from_bytea(77777, 'a large object'); GRANT SELECT ON LARGE OBJECT 77777 TO PUBLIC;
         COMMENT ON TABLE lots IS 'what is sold'; COMMENT ON SCHEMA public IS 'ours';
         GRANT SELECT ON lots TO PUBLIC;",
    )
    .await;
    let _worker = app.worker_with(&drilling("one")).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let decoded = verify(&app, &save, "decode").await;
    assert_eq!((&decoded["depth"], &decoded["verified"]), (&json!("decode"), &json!(true)), "{decoded:#}");
    assert_eq!(decoded["decoded"]["compared"]["by"], "digest", "{decoded:#}");
    assert_eq!((&decoded["decoded"]["read_by"], &decoded["decoded"]["store"]), (&json!("pg_restore"), &json!("disk")));
    assert!(decoded["restored"].is_null() && decoded["unusable"].is_null(), "{decoded:#}");
    assert_eq!(shown(&app, &save).await["verified_depth"], "decode");

    let job = ask(&app, &save, "restore").await;
    let drilled = app.client.job_is(&job, "succeeded").await["result"].clone();
    assert_eq!(drilled["verified"], true, "{drilled:#}");
    let restored = &drilled["restored"];
    assert_eq!((&restored["scratch"], &restored["compared"]["by"]), (&json!("pg"), &json!("digest")), "{drilled:#}");
    assert_eq!(restored["compared"]["rows"], 1001, "{drilled:#}");
    assert_eq!(restored["schema"]["by"], "definitions", "{drilled:#}");
    assert!(restored["schema"]["objects"].as_i64().unwrap() >= 6, "{drilled:#}");
    let name = restored["database"].as_str().unwrap();
    assert!(name.starts_with("hf_drill_") && !database::exists(name).await, "{name}");
    assert_eq!(databases_of(&job).await, Vec::<String>::new());
    // A lesser one later does not take the deeper one back.
    verify(&app, &save, "hash").await;
    let save = shown(&app, &save).await;
    assert_eq!((&save["verified_depth"], &save["valid"]), (&json!("restore"), &json!(true)), "{save:#}");
    assert!(save["verified_at"].is_string() && save["unusable_reason"].is_null());
    let depths: Vec<&str> =
        save["verifications"].as_array().unwrap().iter().map(|one| one["depth"].as_str().unwrap()).collect();
    assert_eq!(depths, ["hash", "restore", "decode"], "the newest first");
    assert_eq!(save["verifications"][1]["job_id"], json!(job));
    assert!(save["verifications"].as_array().unwrap().iter().all(|one| one["passed"] == true));
    assert_eq!(events(&app).await, ["save.verified decode", "save.verified restore", "save.verified hash"]);
    app.holds().await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_not_decoded_and_not_called_wrong() {
    let mut app = App::spawn().await;
    let key = Key::new(&app, "age.key");
    let source = Database::small().await;
    let worker = app.worker_with(&encrypting("backs-up", &["disk"], &[&key], None)).await;
    let target =
        app.target_with(&TargetSpec { target: json!({ "stores": ["disk"] }), ..TargetSpec::of(&source.name) }).await;
    let save = app.saved(&target).await;
    let hashed = verify(&app, &save, "hash").await;
    assert_eq!((&hashed["verified"], &hashed["copies"][0]["raw_checked"]), (&json!(true), &json!(false)), "{hashed:#}");
    let job = ask(&app, &save, "decode").await;
    let error = crate::engine::fails(&app, &job, "identity_missing", false).await;
    assert!(error["hint"].as_str().unwrap().contains("identity_file"), "{error:#}");
    let before = shown(&app, &save).await;
    assert_eq!((&before["valid"], &before["verified_depth"]), (&json!(true), &json!("hash")), "{before:#}");
    assert_eq!(before["verifications"].as_array().unwrap().len(), 1, "what came to nothing is no verification");
    stop(worker).await;
    let spec = encrypting("reads", &["disk"], &[&key], Some(&key));
    let _worker = app.worker_with(&WorkerSpec { more: format!("{}{}", spec.more, scratch()), ..spec }).await;
    let drilled = verify(&app, &save, "restore").await;
    assert_eq!(
        (&drilled["verified"], &drilled["restored"]["compared"]["rows"]),
        (&json!(true), &json!(6000)),
        "{drilled:#}"
    );
    assert_eq!(shown(&app, &save).await["verified_depth"], "restore");
    app.holds().await;
}
