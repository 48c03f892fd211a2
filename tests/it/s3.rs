//! Store `s3`, on a real server: saves in a bucket, what a killed worker leaves there, and settings that are wrong.

use serde_json::{Value, json};
use support::{App, Bucket, Database, Digest, Proxy, TargetSpec, WorkerSpec, stack, until};

use crate::engine::{
    one_attempt,
    stores::{Held, noise},
};

fn skipped() {
    eprintln!("skipped: the stack has no S3 server; it is built where Go is installed");
}

async fn target(app: &mut App, source: &Database, stores: &[&str]) -> String {
    app.target_with(&TargetSpec { target: json!({ "stores": stores }), ..TargetSpec::of(&source.name) }).await
}

fn in_bucket(name: &str, bucket: &Bucket) -> WorkerSpec {
    let at_once = "\n[gc]\ngrace_s = 0\ninterval_s = 0\n";
    WorkerSpec { more: format!("{}{at_once}", bucket.toml("cloud")), ..WorkerSpec::named(name) }
}

async fn failure(app: &App, job: &str) -> Value {
    let job = app.client.job_until(job, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    job["error"].clone()
}

#[tokio::test]
async fn a_save_in_a_bucket_comes_back_and_goes() {
    let mut app = App::spawn().await;
    let Some(bucket) = Bucket::of(&app) else { return skipped() };
    let source = noise().await;
    let _worker = app.worker_with(&in_bucket("one", &bucket)).await;
    let target = target(&mut app, &source, &["cloud"]).await;
    let save = app.saved(&target).await;
    assert!(bucket.objects().keys().any(|key| key.ends_with("/manifest.json")), "{:?}", bucket.objects().keys());
    assert!(bucket.uploads().is_empty() && bucket.canaries().is_empty());
    app.holds().await;

    let copy = Database { name: stack::fresh("new") };
    let job = app.restore(&save, &copy.name).await;
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(Digest::of(&source.name).await.rows, Digest::of(&copy.name).await.rows);

    let job = app.client.delete(&format!("/v1/saves/{save}")).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert!(bucket.objects().is_empty(), "{:?}", bucket.objects().keys());
    app.holds().await;
}

#[tokio::test]
async fn what_a_killed_worker_left_in_a_bucket_goes() {
    let mut app = App::spawn().await;
    let Some(bucket) = Bucket::of(&app) else { return skipped() };
    let source = noise().await;
    let target = target(&mut app, &source, &["cloud"]).await;
    let mut expected_dead = 0;
    // Before its row, before its first byte, before and after it becomes visible, and before the save is one.
    let points = [
        ("store.prepare.after", 0),
        ("backup.name.after", 1),
        ("store.commit.before", 1),
        ("store.commit.after", 1),
        ("finish.commit.before", 3),
    ];
    for (n, (point, rows)) in points.into_iter().enumerate() {
        let envs = vec![("HOLDFAST_FAILPOINT".to_owned(), format!("{point}=kill"))];
        let spec = WorkerSpec { envs, ..in_bucket(&format!("killed-{n}"), &bucket) };
        let mut killed = app.worker_with(&spec).await;
        let job = app.backup(&target).await;
        killed.ended().await;
        expected_dead += rows;
        let mut next = app.worker_with(&in_bucket(&format!("next-{n}"), &bucket)).await;
        app.client.job_is(&job, "succeeded").await;
        let dead: i64 = app.value("SELECT count(*) FROM dead_objects").await;
        assert!(dead <= expected_dead, "{point}: {dead} rows");
        let job = app.client.post("/v1/gc?wait=60s", json!({ "dry_run": false, "store": "cloud" })).await.expect(202);
        assert_eq!(job["state"], "succeeded", "{job:#}");
        let report = &job["result"]["stores"][0];
        assert_eq!((&report["remaining"], &report["foreign"]["count"]), (&json!(0), &json!(0)), "{point}: {job:#}");
        assert!(bucket.uploads().is_empty(), "{point}: {:?}", bucket.uploads());
        expected_dead = 0;
        app.holds().await;
        next.stop().await;
    }
}

#[tokio::test]
async fn settings_that_are_wrong_are_told_apart() {
    let mut app = App::spawn().await;
    let Some(bucket) = Bucket::of(&app) else { return skipped() };
    let source = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    one_attempt(&app).await;
    let (url, secret) = (stack::setting("S3_URL"), "a-secret-that-no-record-holds");
    let more = [
        bucket.toml_with("denied", &url, &bucket.name, secret),
        bucket.toml_with("nowhere", &url, "there-is-none", &stack::setting("S3_SECRET_ACCESS_KEY")),
        bucket.toml("cloud"),
    ]
    .concat();
    bucket.make_public();
    let mut worker = app.worker_with(&WorkerSpec { more, ..WorkerSpec::named("one") }).await;
    for (store, code) in [("denied", "store_denied"), ("nowhere", "store_missing"), ("cloud", "store_public")] {
        let target = target(&mut app, &source, &[store]).await;
        let job = app.backup(&target).await;
        let error = failure(&app, &job).await;
        assert_eq!((&error["code"], &error["retryable"]), (&json!(code), &json!(false)), "{error:#}");
        assert!(error["message"].as_str().unwrap().contains(store), "{error:#}");
        assert!(error["hint"].as_str().is_some_and(|hint| hint.len() > 10), "{error:#}");
    }
    // Each was told of at the start, too, and nothing was left behind.
    for _ in 0..3 {
        worker.says("the store is refused").await;
    }
    assert!(!app.logs().contains(secret), "a log holds the secret");
    assert!(bucket.objects().is_empty() && bucket.canaries().is_empty());
    app.holds().await;
}

#[tokio::test]
async fn a_bucket_that_is_gone_mid_upload_is_tried_again_and_comes_back_empty() {
    let mut app = App::spawn().await;
    let Some(bucket) = Bucket::of(&app) else { return skipped() };
    let source = noise().await;
    one_attempt(&app).await;
    let port = stack::setting("S3_URL").rsplit_once(':').unwrap().1.parse().unwrap();
    let proxy = Proxy::to(port).await;
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let more = bucket.toml_with("cloud", &url, &bucket.name, &stack::setting("S3_SECRET_ACCESS_KEY"));
    let held = Held::half_way(&mut app, &source, WorkerSpec { more, ..WorkerSpec::named("one") }, &["cloud"]).await;
    proxy.cut();
    held.go();
    let error = failure(&app, &held.job).await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("store_unreachable"), &json!(true)), "{error:#}");
    proxy.heal();
    // A row of the dead attempt names whatever lies there.
    app.holds().await;
}

#[tokio::test]
async fn a_locked_save_stays_until_its_time_and_then_goes() {
    let mut app = App::spawn().await;
    let Some(bucket) = Bucket::locked(&app) else { return skipped() };
    let source = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    let _worker = app.worker_with(&in_bucket("one", &bucket)).await;
    let target = target(&mut app, &source, &["cloud"]).await;
    let save = app.saved(&target).await;
    let job = app.client.delete(&format!("/v1/saves/{save}")).await.id();
    let put_off =
        app.client.job_until(&job, "put off", |job| job["state"] == "queued" && job["error"].is_object()).await;
    assert_eq!(put_off["error"]["code"], "object_locked", "{put_off:#}");
    assert!(put_off["error"]["retry_after_s"].as_u64().is_some_and(|s| s >= 3600), "{put_off:#}");
    assert_eq!(put_off["attempt"], 0, "an attempt that nothing could help was counted: {put_off:#}");
    let save_now = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    assert_eq!(save_now["state"], "deleting", "{save_now:#}");
    let later: bool =
        app.value("SELECT next_run_at > clock_timestamp() + interval '1 hour' FROM jobs WHERE kind = 'delete'").await;
    assert!(later);
    app.holds().await;

    bucket.unlock();
    app.execute("UPDATE jobs SET next_run_at = clock_timestamp() WHERE kind = 'delete'").await;
    app.client.job_is(&job, "succeeded").await;
    // No version is left hidden below a marker either.
    let (_, versions) = bucket.request(&[], "?versions=");
    assert!(!versions.contains(&save), "{versions}");
    until("the bucket is empty", || async { bucket.objects().is_empty().then_some(()) }).await;
    app.holds().await;
}

#[tokio::test]
async fn a_probe_looks_at_the_stores_too() {
    let mut app = App::spawn().await;
    let Some(bucket) = Bucket::of(&app) else { return skipped() };
    let source = Database::create("CREATE TABLE t AS SELECT 1 AS n").await;
    let _worker = app.worker_with(&in_bucket("one", &bucket)).await;
    let probe = async |app: &App, target: &str| {
        app.client.post(&format!("/v1/targets/{target}/probe?wait=60s"), json!({})).await.expect(202)
    };
    let both = target(&mut app, &source, &["disk", "cloud"]).await;
    let job = probe(&app, &both).await;
    let stores =
        json!([{ "store": "disk", "kind": "file", "fit": true }, { "store": "cloud", "kind": "s3", "fit": true }]);
    assert_eq!((&job["state"], &job["result"]["stores"]), (&json!("succeeded"), &stores), "{job:#}");
    assert_eq!(job["result"]["warnings"], json!([]), "{job:#}");

    // Public from now on: at once, whatever an earlier look has found.
    bucket.make_public();
    let job = probe(&app, &both).await;
    assert_eq!(job["state"], "succeeded", "one copy is enough for this target: {job:#}");
    let cloud = &job["result"]["stores"][1];
    assert_eq!((&cloud["fit"], &cloud["problem"]["code"]), (&json!(false), &json!("store_public")), "{job:#}");
    assert!(job["result"]["warnings"][0].as_str().unwrap().contains("store cloud is not fit"), "{job:#}");
    assert!(job["result"]["probe"].is_object(), "{job:#}");
    let alone = target(&mut app, &source, &["cloud"]).await;
    let job = probe(&app, &alone).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("store_public")), "{job:#}");
    let unknown = target(&mut app, &source, &["elsewhere"]).await;
    let job = probe(&app, &unknown).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("store_unknown")), "{job:#}");
    // A directory that is not mounted.
    std::fs::rename(app.store(), app.dir.path().join("away")).unwrap();
    let disk = target(&mut app, &source, &["disk"]).await;
    let job = probe(&app, &disk).await;
    assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!("store_unreachable")), "{job:#}");
    std::fs::rename(app.dir.path().join("away"), app.store()).unwrap();
    assert!(bucket.canaries().is_empty());
    app.holds().await;
}
