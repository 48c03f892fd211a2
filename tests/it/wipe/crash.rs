//! The worker dies or freezes anywhere in a wipe: the database is as it was or empty, never between, and the job says which.

use serde_json::{Value, json};

use super::Scene;
use crate::chaos::bench::{for_each, frozen, handed_on, killed, spec};

/// What the next worker makes of the job.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It works through it once more.
    Again,
    /// It finds that nothing had happened.
    Not,
    /// It finds that it had happened.
    Done,
}

const POINTS: &[(&str, Then)] = &[
    ("safety.commit.before", Then::Again),
    ("safety.commit.after", Then::Again),
    ("wipe.emptied", Then::Again),
    ("journal.commit.before", Then::Again),
    ("journal.commit.after", Then::Not),
    ("wipe.commit.before", Then::Not),
    ("wipe.commit.after", Then::Done),
    ("finish.commit.before", Then::Done),
];

async fn decided(scene: &Scene, point: &str, job: &Value, then: Then) {
    match then {
        Then::Not => {
            assert_eq!(job["state"], "failed", "{point}: {job:#}");
            assert_eq!(job["error"]["code"], "wipe_not_done", "{point}: {job:#}");
            scene.untouched().await;
        }
        Then::Again | Then::Done => {
            assert_eq!(job["state"], "succeeded", "{point}: {job:#}");
            assert_eq!(job["result"]["resolved"] == true, then == Then::Done, "{point}: {job:#}");
            assert_eq!(job["result"]["rows"], 4041, "{point}: {job:#}");
            assert!(scene.is_empty().await, "{point}");
        }
    }
    let wiped: i64 = scene.app.value("SELECT count(*) FROM outbox WHERE type = 'target.wiped'").await;
    assert_eq!(wiped, i64::from(then != Then::Not), "{point}");
}

#[tokio::test]
async fn a_worker_that_is_killed_anywhere_leaves_all_or_nothing() {
    for_each(POINTS, |(point, then)| async move {
        let scene = Scene::set().await;
        let job = scene.wipe(json!({})).await;
        let _second = handed_on(&scene.app, &job, &format!("{point}=kill"), *then != Then::Again).await;
        let ended = scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
        decided(&scene, point, &ended, *then).await;
        scene.app.holds().await;
        scene
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_freezes_before_its_commit_empties_nothing_when_it_thaws() {
    let scene = Scene::set().await;
    let job = scene.wipe(json!({ "safety_save": false })).await;
    let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", "wipe.commit.before=freeze"));
    frozen(&scene.app, &mut first, "wipe.commit.before").await;
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    let ended = scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    decided(&scene, "freeze", &ended, Then::Not).await;
    first.thaw();
    assert!(first.stop().await.success(), "{}", first.tail());
    scene.untouched().await;
    assert_eq!(scene.app.client.job(&job).await, ended);
    scene.app.holds().await;
}

#[tokio::test]
async fn nothing_is_decided_while_the_server_cannot_be_seen() {
    let scene = Scene::set().await;
    let job = scene.wipe(json!({ "safety_save": false })).await;
    let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", "wipe.commit.after=kill"));
    killed(&mut first, "wipe.commit.after").await;
    let port: i32 = scene.app.value("SELECT port FROM servers").await;
    scene.app.execute("UPDATE servers SET port = 1").await;
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    scene
        .app
        .client
        .job_until(&job, "queued for another look", |job| {
            assert!(job["finished_at"].is_null(), "{job:#}");
            job["attempt"].as_i64() > Some(3) && job["state"] == "queued"
        })
        .await;
    scene.app.execute(&format!("UPDATE servers SET port = {port}")).await;
    let ended = scene.app.client.job_is(&job, "succeeded").await;
    decided(&scene, "server away", &ended, Then::Done).await;
    scene.app.holds().await;
}
