//! Hints say only "look": lost, doubled or unreadable ones change nothing but the time it takes.

use shared::{
    id::JobId,
    queue::{self, QUEUE},
};
use support::{App, Database, WorkerSpec};

/// A worker that looks only when told to.
fn deaf(name: &str) -> WorkerSpec {
    WorkerSpec { poll_s: 600.0, ..WorkerSpec::named(name) }
}

#[tokio::test]
async fn a_hint_that_comes_fifty_times_starts_a_job_once() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let job = app.backup(&target).await;
    let id: JobId = job.parse().unwrap();
    for _ in 0..50 {
        queue::hint(&mut app.pool.acquire().await.unwrap(), &[id]).await.unwrap();
    }
    let _workers = [app.worker_with(&deaf("a")).await, app.worker_with(&deaf("b")).await];
    let done = app.client.job_is(&job, "succeeded").await;
    assert_eq!(done["attempt"], 1);
    // A later job is heard although the queue of hints is full of stale ones.
    let next = app.backup(&target).await;
    app.client.job_is(&next, "succeeded").await;
    assert_eq!(app.history(&job).await, ["queued", "running", "succeeded"]);
    app.holds().await;
}

#[tokio::test]
async fn a_lost_hint_is_sent_again() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker_with(&deaf("a")).await;
    app.execute(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER lose BEFORE INSERT ON apalis.jobs FOR EACH ROW EXECUTE FUNCTION lose()",
    )
    .await;
    let job = app.backup(&target).await;
    let hints: i64 = app.value("SELECT count(*) FROM apalis.jobs").await;
    assert_eq!((hints, app.client.job(&job).await["state"].as_str()), (0, Some("queued")));
    app.execute("DROP TRIGGER lose ON apalis.jobs").await;
    app.client.job_is(&job, "succeeded").await;
    app.holds().await;
}

#[tokio::test]
async fn an_unreadable_hint_stops_no_worker() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let mut worker = app.worker_with(&deaf("a")).await;
    for n in 0..3 {
        app.execute(&format!(
            "INSERT INTO apalis.jobs (job, id, job_type, status, attempts, max_attempts, run_at, priority)
             VALUES ('not a hint {n}', 'unreadable-{n}', '{QUEUE}', 'Pending', 0, 1, now(), 0)"
        ))
        .await;
    }
    worker.says("the hint worker ended and is started anew").await;
    for _ in 0..3 {
        let job = app.backup(&target).await;
        app.client.job_is(&job, "succeeded").await;
    }
    assert!(!worker.has_ended());
    app.holds().await;
}
