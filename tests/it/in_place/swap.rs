//! By swap: the save beside the database, one transaction, the old one kept.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use support::{Digest, WorkerSpec, database, until};

use super::{Scene, asides};

#[tokio::test]
async fn a_damaged_database_is_put_back_and_kept_aside() {
    let scene = Scene::set().await;
    let name = &scene.auction.database.name;
    let _worker = scene.app.worker("one").await;
    // An application that holds on to its connection.
    let mut held = scene.auction.session().await.unwrap();
    let job = scene.restore(json!({})).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(scene.auction.digest().await, scene.saved, "{done:#}");
    let result = &done["result"];
    assert_eq!((&result["method"], &result["warnings"]), (&json!("swap"), &json!([])), "{result:#}");

    let kept = result["kept"]["database"].as_str().unwrap();
    assert_eq!(asides(name).await, [kept], "nothing but the old one stands beside it");
    assert_eq!(Digest::of(kept).await, scene.damaged, "what was there is kept as it was");
    assert!(sqlx::query("SELECT 1").execute(&mut held).await.is_err(), "a session of the old database goes on");
    let said = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()";
    assert!(scene.auction.database.text(said).await.starts_with("the auction's\n\nholdfast: restored, "));

    let steps = scene.app.client.get(&format!("/v1/jobs/{job}/history")).await.expect(200);
    assert!(steps.as_array().unwrap().iter().any(|step| step["phase"] == "committing"), "{steps:#}");
    let safety = scene.app.client.get(&format!("/v1/saves/{}", done["save_id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&safety["state"], &safety["origin"]), (&json!("available"), &json!("safety")), "{safety:#}");
    let life: f64 = scene
        .app
        .value("SELECT extract(epoch FROM expires_at - created_at)::float8 / 86400 FROM saves WHERE origin = 'safety'")
        .await;
    assert!((6.9..7.1).contains(&life), "a safety save lives {life} days");
    let events: Vec<String> = scene
        .app
        .values("SELECT type FROM outbox WHERE type LIKE 'save.%' OR type LIKE 'restore.%' ORDER BY position")
        .await;
    assert_eq!(events, ["save.completed", "save.completed", "restore.completed"]);

    // The safety save is the damaged state, whole.
    let safe = support::stack::fresh("safe");
    let copy = support::Database { name: safe };
    let body = json!({ "into": { "database": copy.name }, "owner": "keep", "privileges": "keep" });
    let id = safety["id"].as_str().unwrap();
    let job = scene.app.client.post(&format!("/v1/saves/{id}/restore"), body).await.id();
    scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(Digest::of(&copy.name).await, scene.damaged);
    scene.app.holds().await;
}

#[tokio::test]
async fn a_dropped_database_is_put_back() {
    let scene = Scene::set().await;
    let name = &scene.auction.database.name;
    let mut server = database::connect("postgres").await;
    database::run(&mut server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({})).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(scene.auction.digest().await, scene.saved, "{done:#}");
    assert!(done["result"]["kept"].is_null(), "{done:#}");
    let safety = scene.app.client.get(&format!("/v1/saves/{}", done["save_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(
        (&safety["state"], &safety["error"]["code"]),
        (&json!("failed"), &json!("nothing_to_save")),
        "{safety:#}"
    );
    let refused = scene.app.client.post(&format!("/v1/jobs/{job}/undo"), json!({ "confirm": name })).await;
    refused.expect(409);
    scene.app.holds().await;
}

#[tokio::test]
async fn sessions_that_come_back_at_once_do_not_keep_the_old_one_in_place() {
    let scene = Scene::set().await;
    let name = scene.auction.database.name.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (auction, stop) = (Arc::clone(&scene.auction), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut calls = 0;
                while !stop.load(Ordering::Acquire) {
                    // Refused while the names change: that is what an application sees.
                    if let Ok(mut session) = auction.session().await {
                        drop(sqlx::query("SELECT pg_sleep(60)").execute(&mut session).await);
                        calls += 1;
                    }
                }
                calls
            })
        })
        .collect();
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({ "safety": false })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert!(done["save_id"].is_null(), "no safety save was wanted: {done:#}");
    stop.store(true, Ordering::Release);
    let end = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND datname = '{name}'"
    );
    until("the callers end", || async {
        database::run(&mut database::connect("postgres").await, &end).await;
        callers.iter().all(tokio::task::JoinHandle::is_finished).then_some(())
    })
    .await;
    for caller in callers {
        assert!(caller.await.unwrap() > 0, "a caller never got in: the test shows nothing");
    }
    assert_eq!(scene.auction.digest().await, scene.saved);
    scene.app.holds().await;
}

#[tokio::test]
async fn what_was_kept_long_enough_is_dropped() {
    let scene = Scene::set().await;
    let name = &scene.auction.database.name;
    let _worker = scene.app.worker_with(&WorkerSpec::named("one")).await;
    let job = scene.restore(json!({ "keep_old_hours": 0, "safety": false })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    let kept = done["result"]["kept"]["database"].as_str().unwrap().to_owned();
    until("the old database is dropped", || async { (!database::exists(&kept).await).then_some(()) }).await;
    until("the row says so", || async {
        let state: String = scene.app.value("SELECT state FROM kept_databases").await;
        (state == "dropped").then_some(())
    })
    .await;
    assert_eq!(asides(name).await, Vec::<String>::new());
    let refused = scene.app.client.post(&format!("/v1/jobs/{job}/undo"), json!({ "confirm": name })).await;
    assert!(refused.expect(409)["detail"].as_str().unwrap().contains("dropped already"));
    assert_eq!(scene.auction.digest().await, scene.saved);
    scene.app.holds().await;
}

#[tokio::test]
async fn what_somebody_renamed_is_theirs() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({ "safety": false })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    let kept = done["result"]["kept"]["database"].as_str().unwrap().to_owned();
    let theirs = support::Database { name: support::stack::fresh("theirs") };
    let mut server = database::connect("postgres").await;
    database::run(&mut server, &format!("ALTER DATABASE {kept} RENAME TO {}", theirs.name)).await;
    scene.app.execute("UPDATE kept_databases SET keep_until = clock_timestamp()").await;
    until("the row says that it is gone", || async {
        let state: String = scene.app.value("SELECT state FROM kept_databases").await;
        (state == "gone").then_some(())
    })
    .await;
    assert_eq!(Digest::of(&theirs.name).await, scene.damaged, "it was touched");
    scene.app.holds().await;
}
