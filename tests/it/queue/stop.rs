//! Jobs that are told to stop: by an admin, by time, by a worker that goes down.

use std::time::Duration;

use serde_json::{Value, json};
use support::{App, Database, TargetSpec, WorkerSpec, process};

async fn cancel(app: &App, job: &str) -> (u16, Value) {
    let answer = app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    (answer.status.as_u16(), answer.body)
}

#[tokio::test]
async fn a_queued_job_is_cancelled_at_once_and_a_running_one_soon() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let hold = database.hold("lots").await;
    // Beats come too late to be what carries the wish.
    let spec = WorkerSpec { lease_s: 90.0, beat_s: 30.0, ..WorkerSpec::named("a") };
    let worker = app.worker_with(&spec).await;
    let running = app.backup(&target).await;
    database.dump_waits().await;
    let queued = app.backup(&target).await;

    let (status, job) = cancel(&app, &queued).await;
    assert_eq!((status, job["state"].as_str()), (200, Some("cancelled")), "{job:#}");
    assert_eq!(cancel(&app, &queued).await.0, 200, "asking twice is harmless");

    let children: Vec<u32> = worker.descendants().iter().map(|(pid, _)| *pid).collect();
    assert!(!children.is_empty());
    let (status, _) = cancel(&app, &running).await;
    assert_eq!(status, 202);
    app.client.job_is(&running, "cancelled").await;
    assert!(children.iter().all(|pid| !process::alive(*pid)), "a child outlived its job");
    let took: f64 = app
        .value(&format!(
            "SELECT extract(epoch FROM finished_at - cancel_requested_at)::float8 FROM jobs WHERE id = '{running}'"
        ))
        .await;
    assert!(took < 15.0, "half a beat is 15 s and it took {took} s: nobody listened");
    assert_eq!(cancel(&app, &running).await.0, 200);
    hold.release().await;

    let save = app.client.job(&running).await["save_id"].as_str().unwrap().to_owned();
    assert_eq!(app.client.get(&format!("/v1/saves/{save}")).await.expect(200)["state"], "failed");
    let job = app.backup(&target).await;
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(cancel(&app, &job).await.0, 409, "what has succeeded cannot be cancelled");
    app.holds().await;
}

#[tokio::test]
async fn sigterm_lets_a_running_job_finish() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let hold = database.hold("lots").await;
    let mut worker = app.worker_with(&WorkerSpec { grace_s: 60.0, ..WorkerSpec::named("a") }).await;
    let running = app.backup(&target).await;
    database.dump_waits().await;
    worker.signal(rustix::process::Signal::TERM);
    let queued = app.backup(&target).await;
    hold.release().await;
    assert!(worker.ended().await.success());
    let job = app.client.job(&running).await;
    assert_eq!((job["state"].as_str(), job["attempt"].as_i64()), (Some("succeeded"), Some(1)), "{job:#}");
    assert_eq!(app.client.job(&queued).await["state"], "queued", "a worker that goes down takes no new job");
    app.holds().await;
}

#[tokio::test]
async fn a_job_that_outlasts_the_grace_period_is_put_back_uncharged() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let hold = database.hold("lots").await;
    let mut worker = app.worker_with(&WorkerSpec { grace_s: 1.0, ..WorkerSpec::named("a") }).await;
    let job = app.backup(&target).await;
    database.dump_waits().await;
    let children: Vec<u32> = worker.descendants().iter().map(|(pid, _)| *pid).collect();
    assert!(worker.stop().await.success());
    assert!(children.iter().all(|pid| !process::alive(*pid)), "a child outlived its worker");
    let put_back = app.client.job(&job).await;
    assert_eq!((put_back["state"].as_str(), put_back["attempt"].as_i64()), (Some("queued"), Some(0)), "{put_back:#}");
    hold.release().await;
    let _next = app.worker("b").await;
    let done = app.client.job_is(&job, "succeeded").await;
    assert_eq!(done["attempt"], 1);
    app.holds().await;
}

#[tokio::test]
async fn a_second_sigterm_ends_a_worker_at_once_and_its_job_is_put_back() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _hold = database.hold("lots").await;
    let mut worker = app.worker_with(&WorkerSpec { grace_s: 600.0, ..WorkerSpec::named("a") }).await;
    let job = app.backup(&target).await;
    database.dump_waits().await;
    worker.signal(rustix::process::Signal::TERM);
    worker.says("stopping").await;
    worker.signal(rustix::process::Signal::TERM);
    assert!(tokio::time::timeout(Duration::from_mins(1), worker.ended()).await.unwrap().success());
    let put_back = app.client.job(&job).await;
    assert_eq!((put_back["state"].as_str(), put_back["attempt"].as_i64()), (Some("queued"), Some(0)), "{put_back:#}");
    app.holds().await;
}

#[tokio::test]
async fn a_job_that_takes_longer_than_it_may_fails() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let spec = TargetSpec { target: json!({ "deadline_s": 2 }), ..TargetSpec::of(&database.name) };
    let target = app.target_with(&spec).await;
    let _hold = database.hold("lots").await;
    let _worker = app.worker("a").await;
    let job = app.backup(&target).await;
    let failed = app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "deadline_exceeded", "{failed:#}");
    assert_eq!(failed["attempt"], 1, "more time would not help");
    app.holds().await;
}

#[tokio::test]
async fn a_job_through_which_no_byte_passes_is_tried_again() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let spec = TargetSpec { target: json!({ "stall_s": 2 }), ..TargetSpec::of(&database.name) };
    let target = app.target_with(&spec).await;
    let hold = database.hold("lots").await;
    let _worker = app.worker("a").await;
    let job = app.backup(&target).await;
    app.client
        .job_until(&job, "stalled once", |job| job["error"]["code"] == "stalled" || job["attempt"].as_i64() == Some(2))
        .await;
    hold.release().await;
    let done = app.client.job_is(&job, "succeeded").await;
    assert!(done["attempt"].as_i64().unwrap() >= 2, "{done:#}");
    let why: String = app
        .value(&format!("SELECT error->>'code' FROM job_events WHERE job_id = '{job}' AND error IS NOT NULL LIMIT 1"))
        .await;
    assert_eq!(why, "stalled");
    app.holds().await;
}
