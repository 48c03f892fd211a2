//! Retention through the real doors: nights that come and go, what is kept of them, and why nothing is removed when it is not.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod blocked;
mod expiry;
mod requests;

use serde_json::{Value, json};
use support::App;

/// A nightly schedule of a target with these rules, behind the API's back. Its id.
pub(crate) async fn schedule(app: &App, target: &str, rules: &Value) -> String {
    app.value(&format!(
        "INSERT INTO schedules (id, name, covers, target_id, service_id, expression, zone, retention, paused_at)
         SELECT gen_random_uuid(), 'nightly-' || t.name, 'target', t.id, t.service_id, '0 5 * * *', 'UTC', '{rules}', clock_timestamp()
         FROM targets t WHERE t.id = '{target}' RETURNING id::text"
    ))
    .await
}

/// A backup as the schedule asked for it so many days ago. The ids of its save and its job.
pub(crate) async fn begun(app: &App, target: &str, schedule: &str, days_ago: u32) -> (String, String) {
    // Nobody takes the job before it is the schedule's; and nobody else asks for one of the target meanwhile.
    settled(app).await;
    app.execute(&format!("UPDATE targets SET worker_group = 'later' WHERE id = '{target}'")).await;
    let job = app.backup(target).await;
    let save = app.client.job(&job).await["save_id"].as_str().unwrap().to_owned();
    app.execute(&format!(
        "UPDATE saves SET schedule_id = '{schedule}', origin = 'schedule', created_at = clock_timestamp() - interval '{days_ago} days' WHERE id = '{save}';
         UPDATE targets SET worker_group = 'default' WHERE id = '{target}';
         UPDATE jobs SET worker_group = 'default' WHERE id = '{job}'"
    ))
    .await;
    (save, job)
}

/// As [`begun`], until it is done. The save's id.
pub(crate) async fn night(app: &App, target: &str, schedule: &str, days_ago: u32) -> String {
    let (save, job) = begun(app, target, schedule, days_ago).await;
    app.client.job_is(&job, "succeeded").await;
    save
}

/// Waits until nothing is to be looked at and nothing runs.
pub(crate) async fn settled(app: &App) {
    support::until("retention has come to rest", || async {
        let open: i64 = app
            .value(
                "SELECT (SELECT count(*) FROM retention_runs WHERE due_at IS NOT NULL)
                      + (SELECT count(*) FROM jobs WHERE state IN ('queued', 'running'))",
            )
            .await;
        (open == 0).then_some(())
    })
    .await;
}

/// Versions of the target's available saves, the newest first.
pub(crate) async fn versions(app: &App, target: &str) -> Vec<i32> {
    app.values(&format!(
        "SELECT version FROM saves WHERE target_id = '{target}' AND state = 'available' ORDER BY version DESC"
    ))
    .await
}

/// What the events of this type say, the oldest first.
pub(crate) async fn told(app: &App, kind: &str) -> Vec<Value> {
    let texts: Vec<String> =
        app.values(&format!("SELECT data::text FROM outbox WHERE type = '{kind}' ORDER BY position")).await;
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// What retention would do with the target's saves, by the schedule's rules or by those of the query.
pub(crate) async fn planned(app: &App, schedule: &str, query: &str) -> Value {
    let targets = app.client.get(&format!("/v1/schedules/{schedule}/retention{query}")).await.expect(200);
    assert_eq!(targets.as_array().unwrap().len(), 1, "{targets:#}");
    targets[0].clone()
}

/// The versions that have this fate.
pub(crate) fn fated(plan: &Value, fate: &str) -> Vec<i64> {
    let lines = plan["saves"].as_array().unwrap().iter();
    lines.filter(|line| line["fate"] == fate).map(|line| line["version"].as_i64().unwrap()).collect()
}

pub(crate) fn reasons(plan: &Value, version: i64) -> Vec<String> {
    let line = plan["saves"].as_array().unwrap().iter().find(|line| line["version"] == json!(version));
    let line = line.unwrap_or_else(|| panic!("no version {version}: {plan:#}"));
    line["reasons"].as_array().unwrap().iter().map(|reason| reason.as_str().unwrap().to_owned()).collect()
}
