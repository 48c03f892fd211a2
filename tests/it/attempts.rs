//! How often a job is tried: the API writes `jobs.attempts` of its configuration into the job, and workers keep to it.

use serde_json::{Value, json};
use support::{App, TargetSpec};

async fn outcome(app: &App, job: &str) -> (Value, Value) {
    let mut job = app.client.job_is(job, "failed").await;
    (job["attempt"].take(), job["max_attempts"].take())
}

#[tokio::test]
async fn the_configuration_says_how_often_a_job_is_tried() {
    let mut app = App::spawn_with("[jobs]\nattempts = 2\n").await;
    // Nobody listens there, which may pass.
    let target = app.target_with(&TargetSpec { port: 1, ..TargetSpec::of("nowhere") }).await;
    let _worker = app.worker("a").await;
    let backup = app.backup(&target).await;
    let probe = app.client.post(&format!("/v1/targets/{target}/probe"), json!({})).await.id();
    assert_eq!(outcome(&app, &backup).await, (json!(2), json!(2)));
    // A kind's own limit is lower.
    assert_eq!(outcome(&app, &probe).await, (json!(1), json!(1)));
    app.holds().await;
}
