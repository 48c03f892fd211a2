//! Requests that are sent twice: under an `Idempotency-Key` they are done once (guarantees B6).

use reqwest::Method;
use serde_json::{Value, json};
use support::{Answer, App, Client, Database, WorkerSpec, until};

use super::cast::{self, Paper};

async fn keyed(client: &Client, path: &str, key: &str, body: &Value) -> Answer {
    let request = client.request(Method::POST, path).header("idempotency-key", key);
    client.send(if body.is_null() { request } else { request.json(body) }).await
}

fn is_replayed(answer: &Answer) -> bool {
    answer.header("idempotency-replayed") == Some("true")
}

/// Jobs, saves, hints, facts and audit entries: what one request leaves.
async fn left(app: &App) -> Vec<i64> {
    let mut counts = Vec::new();
    for sql in [
        "SELECT count(*) FROM jobs",
        "SELECT count(*) FROM saves",
        "SELECT count(*) FROM apalis.jobs",
        "SELECT count(*) FROM outbox",
        "SELECT count(*) FROM audit WHERE outcome = 'allowed' AND action <> 'auth.login'",
        "SELECT count(*) FROM idempotency_keys",
    ] {
        counts.push(app.value(sql).await);
    }
    counts
}

#[tokio::test]
async fn a_hundred_at_once_are_one_job() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let path = format!("/v1/targets/{}/backups", paper.target);
    let before = left(&app).await;
    let body = json!({ "note": "once" });
    let all = (0..100).map(|_| keyed(&app.client, &path, "k-1", &body));
    let answers = futures_util::future::join_all(all).await;
    let id = answers[0].body["id"].clone();
    for answer in &answers {
        assert_eq!((answer.status.as_u16(), &answer.body["id"]), (202, &id), "{}", answer.text);
        assert_eq!(answer.header("location"), Some(format!("/v1/jobs/{}", id.as_str().unwrap()).as_str()));
    }
    assert_eq!(answers.iter().filter(|answer| !is_replayed(answer)).count(), 1);
    let grown: Vec<i64> = left(&app).await.iter().zip(&before).map(|(after, before)| after - before).collect();
    assert_eq!(grown, [1, 1, 1, 1, 1, 1]);
}

#[tokio::test]
async fn every_post_that_enqueues_or_creates_is_done_once() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let mut worker = app.worker("a").await;
    let save = app.saved(&target).await;
    // From here on nothing runs, so that each answer is the same word for word.
    assert!(worker.stop().await.success());
    let ended = app.backup(&target).await;
    app.client.post(&format!("/v1/jobs/{ended}/cancel"), Value::Null).await.expect(200);
    let row = app.client.get(&format!("/v1/targets/{target}")).await.expect(200);
    let new_target = json!({
        "service_id": row["service_id"], "server_id": row["server_id"], "name": "twice", "database": "d",
        "backup_credential_id": row["backup_credential_id"], "stores": ["disk"],
    });
    for (number, (path, body)) in [
        (format!("/v1/targets/{target}/backups"), json!({ "mode": "all" })),
        (format!("/v1/targets/{target}/probe"), Value::Null),
        (format!("/v1/saves/{save}/restore"), json!({ "into": { "database": "twice" } })),
        (format!("/v1/saves/{save}/restore"), json!({ "into": { "database": "twice" }, "dry_run": true })),
        (format!("/v1/saves/{save}/verify"), json!({})),
        (format!("/v1/jobs/{ended}/retry"), Value::Null),
        ("/v1/gc".into(), json!({})),
        (format!("/v1/services/{}/backups", row["service_id"].as_str().unwrap()), json!({})),
        ("/v1/admins".into(), json!({ "name": "twice", "password": "planted-password Xq7 horse lamp" })),
        ("/v1/services".into(), json!({ "name": "twice" })),
        ("/v1/servers".into(), json!({ "name": "twice", "engine": "postgres", "host": "127.0.0.1" })),
        ("/v1/credentials".into(), json!({ "name": "twice", "user_name": "u", "password": "planted-password" })),
        ("/v1/targets".into(), new_target),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{number}");
        let first = keyed(&app.client, &path, &key, &body).await;
        assert!(first.status.is_success() && !is_replayed(&first), "{path}: {}", first.text);
        let before = left(&app).await;
        let second = keyed(&app.client, &path, &key, &body).await;
        assert!(is_replayed(&second), "{path}: {} {}", second.status, second.text);
        assert_eq!((second.status, &second.text), (first.status, &first.text), "{path}");
        assert_eq!(second.header("location"), first.header("location"), "{path}");
        assert_eq!(second.header("content-type"), first.header("content-type"), "{path}");
        assert_eq!(left(&app).await, before, "{path}");
        // Without the key, or under another, it is another request.
        let other = keyed(&app.client, &path, &format!("{key}-b"), &body).await;
        assert!(!is_replayed(&other) && other.text != first.text, "{path}: {}", other.text);
    }
    let kept: i64 = app.value("SELECT count(*) FROM idempotency_keys WHERE body LIKE '%planted%'").await;
    assert_eq!(kept, 0, "no password is kept");
}

#[tokio::test]
async fn a_key_belongs_to_one_request_of_one_admin() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let path = format!("/v1/targets/{}/backups", paper.target);
    let first = keyed(&app.client, &path, "k", &json!({ "note": "a" })).await.expect(202);
    let other = keyed(&app.client, &path, "k", &json!({ "note": "b" })).await;
    assert_eq!(other.body["type"], "urn:holdfast:problem:idempotency-key-reused", "{}", other.text);
    other.expect(422);
    // Waiting is no part of the request; the order of bytes is.
    let waited = keyed(&app.client, &format!("{path}?wait=10ms"), "k", &json!({ "note": "a" })).await;
    assert!(is_replayed(&waited) && waited.body["id"] == first["id"], "{}", waited.text);
    // Another address, another admin: another key.
    let probe = keyed(&app.client, &format!("/v1/targets/{}/probe", paper.target), "k", &Value::Null).await;
    assert!(probe.status == 202 && !is_replayed(&probe), "{}", probe.text);
    let colleague = cast::admin(&app, "colleague", &[("operator", Some(&paper.service))]).await;
    let theirs = keyed(&colleague, &path, "k", &json!({ "note": "a" })).await;
    assert!(theirs.status == 202 && !is_replayed(&theirs) && theirs.body["id"] != first["id"], "{}", theirs.text);
    // Who may not see the job any more is not shown it again.
    app.execute("DELETE FROM admin_roles WHERE admin_id = (SELECT id FROM admins WHERE name = 'colleague')").await;
    keyed(&colleague, &path, "k", &json!({ "note": "a" })).await.expect(404);
    // What is no key is told, and nothing is done.
    let jobs: i64 = app.value("SELECT count(*) FROM jobs").await;
    for bad in ["", "a b", &"x".repeat(256)] {
        keyed(&app.client, &path, bad, &json!({})).await.expect(400);
    }
    let twice = app.client.request(Method::POST, &path).header("idempotency-key", "a").header("idempotency-key", "b");
    app.client.send(twice.json(&json!({}))).await.expect(400);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM jobs").await, jobs);
}

#[tokio::test]
async fn what_failed_gives_its_key_back_and_a_day_later_it_is_forgotten() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let path = format!("/v1/targets/{}/backups", paper.target);
    keyed(&app.client, &path, "k", &json!({ "stores": ["elsewhere"] })).await.expect(422);
    keyed(&app.client, "/v1/services", "k", &json!({ "name": "-" })).await.expect(422);
    app.execute("ALTER TABLE saves RENAME TO gone").await;
    let broken = keyed(&app.client, &path, "k", &json!({})).await;
    app.execute("ALTER TABLE gone RENAME TO saves").await;
    broken.expect(500);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM idempotency_keys").await, 0);
    let first = keyed(&app.client, &path, "k", &json!({})).await;
    assert!(first.status == 202 && !is_replayed(&first), "{}", first.text);
    assert!(is_replayed(&keyed(&app.client, &path, "k", &json!({})).await));

    // A day later another request may have the key, and the sweeper forgets what nobody asks for.
    app.execute("UPDATE idempotency_keys SET created_at = created_at - interval '24 hours 1 second'").await;
    let later = keyed(&app.client, &path, "k", &json!({ "note": "another" })).await;
    assert!(later.status == 202 && !is_replayed(&later) && later.body["id"] != first.body["id"], "{}", later.text);
    app.execute("UPDATE idempotency_keys SET created_at = created_at - interval '24 hours 1 second'").await;
    let _worker = app.worker_with(&WorkerSpec::named("sweeper")).await;
    until("the sweeper has forgotten the key", || async {
        (app.value::<i64>("SELECT count(*) FROM idempotency_keys").await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_answer_outlives_the_process_that_gave_it() {
    let mut app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let path = format!("/v1/targets/{}/backups", paper.target);
    // Its caller waits for the job's end when the process dies: the job is there, the answer was never sent.
    let waiting = {
        let (client, path) = (app.client.clone(), format!("{path}?wait=60s"));
        tokio::spawn(async move {
            let request = client.request(Method::POST, &path).header("idempotency-key", "k").json(&json!({}));
            request.send().await.is_err()
        })
    };
    let job: String =
        until("the job is there", || async { app.values::<String>("SELECT id::text FROM jobs").await.pop() }).await;
    app.api.kill9().await;
    assert!(waiting.await.unwrap(), "the answer came");
    let (_api, client) = cast::another_api(&app, "api-after", &[]).await;
    let again = keyed(&client, &path, "k", &json!({})).await;
    assert!(again.status == 202 && is_replayed(&again), "{}", again.text);
    assert_eq!(again.body["id"], json!(job));
    assert_eq!(app.value::<i64>("SELECT count(*) FROM jobs").await, 1);
}
