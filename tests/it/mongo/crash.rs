//! Workers that die and servers that go away while a dump runs: the next attempt is whole.

use serde_json::json;
use support::{App, Proxy, WorkerSpec, stack};

use super::{Source, holds_all, spec_at};

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
