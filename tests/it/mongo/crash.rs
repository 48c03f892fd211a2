//! Workers that die and servers that go away while a dump runs: the next attempt is whole.

use std::collections::BTreeMap;

use mongodb::bson::doc;
use serde_json::json;
use support::{App, Proxy, WorkerSpec, stack};

use super::{Source, holds_all, spec_at};
use crate::{
    chaos::bench::{frozen, spec},
    engine::one_attempt,
};

async fn in_the_middle(app: &mut App, source: &Source) -> (Proxy, support::Process, String) {
    let (proxy, _) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let worker = app.worker("a").await;
    let target = app.target_with(&spec_at(source, proxy.port)).await;
    let job = app.backup(&target).await;
    app.client.job_until(&job, "dumping", |job| job["phase"] == "dumping" || job["finished_at"].is_string()).await;
    (proxy, worker, job)
}

async fn large() -> Source {
    let source = Source::empty().await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        source.add_large(name, 20, 500_000).await;
    }
    source
}

#[tokio::test]
async fn the_dump_of_a_killed_worker_is_made_again_and_whole() {
    let mut app = App::spawn().await;
    let source = large().await;
    let (proxy, mut worker, job) = in_the_middle(&mut app, &source).await;
    proxy.stall();
    worker.kill9().await;
    proxy.heal();
    let _peer = app.worker_with(&WorkerSpec::named("b")).await;
    let done = app.client.job_is(&job, "succeeded").await;
    assert_eq!(done["attempt"], 2, "{done:#}");
    holds_all(&app, done["save_id"].as_str().unwrap(), &source).await;
    app.holds().await;
    source.drop().await;
}

#[tokio::test]
async fn a_server_that_goes_away_is_an_error_and_the_next_attempt_is_whole() {
    let mut app = App::spawn().await;
    let source = large().await;
    let (proxy, _worker, job) = in_the_middle(&mut app, &source).await;
    proxy.cut();
    let failed = app.client.job_until(&job, "failed once", |job| job["error"].is_object()).await;
    assert_eq!(failed["error"]["retryable"], true, "{failed:#}");
    let code = failed["error"]["code"].as_str().unwrap();
    assert!(["connection_lost", "server_unreachable"].contains(&code), "{failed:#}");
    proxy.heal();
    let done = app.client.job_is(&job, "succeeded").await;
    assert!(done["attempt"].as_i64().unwrap() >= 2, "{done:#}");
    holds_all(&app, done["save_id"].as_str().unwrap(), &source).await;
    app.holds().await;
    source.drop().await;
}

#[tokio::test]
async fn a_cancelled_dump_ends_at_once_and_leaves_nothing() {
    let mut app = App::spawn().await;
    let source = large().await;
    let (proxy, _worker, job) = in_the_middle(&mut app, &source).await;
    // Nothing comes any more: without the cancellation it would wait for long.
    proxy.stall();
    app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    app.client.job_is(&job, "cancelled").await;
    proxy.heal();
    app.holds().await;
    source.drop().await;
}

/// What the application has: a digest of each of its collections.
async fn contents(source: &Source) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for name in source.collections().await.into_iter().filter(|name| !name.starts_with("__hf_")) {
        let digest = Source::digest(source.digests(&name).await);
        all.insert(name, digest);
    }
    all
}

#[tokio::test]
async fn a_server_that_goes_away_in_a_restore_has_what_it_had() {
    let mut app = App::spawn().await;
    let source = large().await;
    let (proxy, _) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let mut worker = app.worker("a").await;
    let target = app.target_with(&spec_at(&source, proxy.port)).await;
    let save = app.saved(&target).await;
    let saved = contents(&source).await;
    source.collection("a").delete_many(doc! { "_id": { "$gte": 3 } }).await.unwrap();
    source.collection("b").drop().await.unwrap();
    let had = contents(&source).await;
    assert_ne!(had, saved);
    one_attempt(&app).await;
    let path = format!("/v1/saves/{save}/restore");
    let body = json!({ "into": {}, "confirm": source.name, "safety": false });
    let gone = async |app: &App, job: &str| {
        let failed = app.client.job_is(job, "failed").await;
        let code = failed["error"]["code"].as_str().unwrap();
        assert!(["connection_lost", "server_unreachable"].contains(&code), "{failed:#}");
        assert_eq!(contents(&source).await, had, "{failed:#}");
        proxy.heal();
    };

    // While documents are written.
    let job = app.client.post(&path, body.clone()).await.id();
    app.client.job_until(&job, "restoring", |job| job["phase"] == "restoring" || job["finished_at"].is_string()).await;
    proxy.cut();
    gone(&app, &job).await;
    worker.stop().await;
    // When all of them are, and nothing has its name yet.
    let mut worker = app.worker_with(&spec(&app, "b", "default", "mongo.staged=freeze")).await;
    let job = app.client.post(&path, body.clone()).await.id();
    frozen(&app, &mut worker, "mongo.staged").await;
    proxy.cut();
    worker.thaw();
    gone(&app, &job).await;
    worker.stop().await;
    // What both have left there goes with the next.
    let _worker = app.worker("c").await;
    let job = app.client.post(&path, body).await.id();
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(contents(&source).await, saved);
    let left: Vec<String> = source
        .collections()
        .await
        .into_iter()
        .filter(|name| name.starts_with("__hf_") && !name.starts_with("__hf_old_"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
    app.holds().await;
    source.drop().await;
}
