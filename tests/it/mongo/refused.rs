//! What is refused, by the API at once or by the job with a clear error.

use serde_json::{Value, json};
use support::{App, Database, TargetSpec, stack};

use super::{Source, spec, spec_at};

/// The pointer of the one field that a 422 names.
fn pointer(answer: support::Answer) -> String {
    let body: Value = answer.expect(422);
    assert!(!body.to_string().contains("hunter2"), "{body:#}");
    body["errors"][0]["pointer"].as_str().unwrap_or_else(|| panic!("{body:#}")).to_owned()
}

#[tokio::test]
async fn servers_that_cannot_be_are_refused() {
    let app = App::spawn().await;
    let mongo = json!({ "name": "m", "engine": "mongodb", "tls_mode": "require" });
    for (fields, expected) in [
        (json!({ "uri": "mongodb://user:hunter2@h/" }), "/uri"),
        (json!({ "uri": "mongodb+srv://hunter2@h/" }), "/uri"),
        (json!({ "uri": "mongodb://h/?tls=false" }), "/uri"),
        (json!({ "uri": "mongodb://h/shop" }), "/uri"),
        (json!({ "uri": "mongodb://h/", "host": "h" }), "/host"),
        (json!({}), "/host"),
        (json!({ "host": "mongodb://user:hunter2@h" }), "/host"),
        (json!({ "host": "h", "tls_mode": "prefer" }), "/tls_mode"),
        (json!({ "host": "h", "tls_mode": "verify_ca" }), "/tls_mode"),
        (json!({ "host": "h", "engine": "postgres", "auth": "none" }), "/auth"),
        (json!({ "uri": "mongodb://h", "engine": "postgres" }), "/uri"),
    ] {
        let mut body = mongo.clone();
        for (key, value) in fields.as_object().unwrap() {
            body[key] = value.clone();
        }
        assert_eq!(pointer(app.client.post("/v1/servers", body).await), expected, "{fields}");
    }
    let credential = json!({ "name": "c", "user_name": "u", "password": "mongodb://user:hunter2@h/" });
    assert_eq!(pointer(app.client.post("/v1/credentials", credential).await), "/password");

    let set = json!({ "name": "set", "engine": "mongodb", "uri": "mongodb://a:27018,b/?replicaSet=rs0" });
    let set = app.client.post("/v1/servers", set).await.expect(201);
    assert_eq!((&set["host"], &set["port"], &set["tls_mode"]), (&json!("a"), &json!(27018), &json!("require")));
    let path = format!("/v1/servers/{}", set["id"].as_str().unwrap());
    assert_eq!(pointer(app.client.patch(&path, json!({ "host": "c" })).await), "/host");
    let changed = app.client.patch(&path, json!({ "uri": null, "host": "c", "port": 5 })).await.expect(200);
    assert_eq!((&changed["uri"], &changed["host"]), (&Value::Null, &json!("c")));
}

#[tokio::test]
async fn what_only_the_other_kind_of_database_has_is_refused() {
    let mut app = App::spawn().await;
    let source = Source::shop().await;
    let postgres = Database::small().await;
    let target = app.target_with(&spec(&source)).await;
    let other = app.target(&postgres).await;
    for (target, body, expected) in [
        (&target, json!({ "tables": [{ "schema": "public", "table": "t" }] }), "/tables"),
        (&target, json!({ "mode": "schema" }), "/mode"),
        (&target, json!({ "collections": ["system.users"] }), "/collections/0"),
        (&other, json!({ "collections": ["items"] }), "/collections"),
    ] {
        let answer = app.client.post(&format!("/v1/targets/{target}/backups"), body.clone()).await;
        assert_eq!(pointer(answer), expected, "{body}");
    }
    source.drop().await;
}

#[tokio::test]
async fn what_is_not_there_is_said_and_final() {
    let mut app = App::spawn().await;
    let source = Source::shop().await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&spec(&source)).await;
    let nowhere = Source::empty().await;
    let missing = app.target_with(&spec(&nowhere)).await;
    let unasked =
        app.client.post(&format!("/v1/targets/{target}/backups"), json!({ "collections": ["no-such"] })).await;
    for (job, code) in [(unasked.id(), "table_missing"), (app.backup(&missing).await, "database_missing")] {
        let job = app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
        assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!(code)), "{job:#}");
        assert_eq!((&job["error"]["retryable"], &job["attempt"]), (&json!(false), &json!(1)), "{job:#}");
    }
    app.holds().await;
    source.drop().await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_tried_again() {
    let mut app = App::spawn().await;
    let source = Source::empty().await;
    let _worker = app.worker("one").await;
    // A port that nobody listens on, as it was just given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = app.target_with(&spec_at(&source, free)).await;
    let job = app.backup(&target).await;
    let job = app.client.job_until(&job, "failed once", |job| job["error"].is_object()).await;
    assert_eq!(job["error"]["code"], "server_unreachable", "{job:#}");
    assert_eq!(job["error"]["retryable"], true, "{job:#}");
}

#[tokio::test]
async fn a_server_without_tls_does_not_do_where_tls_is_required() {
    let mut app = App::spawn().await;
    let source = Source::empty().await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&TargetSpec { tls_mode: "require".to_owned(), ..spec(&source) }).await;
    let job = app.backup(&target).await;
    let job = app.client.job_until(&job, "failed once", |job| job["error"].is_object()).await;
    let code = job["error"]["code"].as_str().unwrap();
    assert!(["tls_failed", "server_unreachable"].contains(&code), "{job:#}");
    assert_eq!(stack::setting("MONGO_URL").matches('@').count(), 0);
}
