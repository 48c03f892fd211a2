//! A store that takes nothing any more: its copy is given up where it is not needed, and waited for where it is.

use serde_json::json;
use support::{App, Proxy, TargetSpec, WorkerSpec, invariants::remove_grid, stack, until};

use crate::engine::{
    one_attempt,
    stores::{Held, noise},
};

/// A backup into `disk` and `grid` whose way to `grid` stands still half-way.
async fn stalled(app: &mut App, required: i32) -> (Proxy, Held, support::Database) {
    let source = noise().await;
    one_attempt(app).await;
    let (proxy, uri) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let uri = format!("{uri}?serverSelectionTimeoutMS=60000&directConnection=true");
    let envs = vec![("HOLDFAST__WORKER__LAGGARD_S".to_owned(), "1".to_owned())];
    let spec = WorkerSpec { mongo_uri: Some(uri), envs, ..WorkerSpec::named("one") };
    let target = json!({ "stores": ["disk", "grid"], "required_copies": required });
    let target = TargetSpec { target, ..TargetSpec::of(&source.name) };
    let held = Held::half_way_to(app, &target, spec).await;
    proxy.stall();
    held.go();
    (proxy, held, source)
}

#[tokio::test]
async fn a_copy_that_is_not_needed_is_given_up_and_made_when_its_store_is_well() {
    let mut app = App::spawn().await;
    let (proxy, held, _source) = stalled(&mut app, 1).await;
    app.execute("DROP TRIGGER one_attempt ON jobs").await;
    let job = app.client.job_is(&held.job, "succeeded").await;
    let save = app.client.get(&format!("/v1/saves/{}", job["save_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(save["state"], "available", "{save:#}");
    for copy in save["copies"].as_array().unwrap() {
        if copy["store"] == "disk" {
            assert_eq!(copy["state"], "good", "{save:#}");
        } else {
            assert_eq!(
                (&copy["state"], &copy["error"]["code"]),
                (&json!("missing"), &json!("store_lagging")),
                "{save:#}"
            );
        }
    }
    let warnings = save["warnings"].to_string();
    assert!(warnings.contains("no copy in store grid"), "{warnings}");
    // The copy that is missing was asked for in the transaction that made the save available.
    proxy.heal();
    let copy: String =
        app.value("SELECT id::text FROM jobs WHERE kind = 'copy' AND payload ->> 'store' = 'grid'").await;
    let copy = app.client.job_is(&copy, "succeeded").await;
    assert_eq!(copy["result"]["from"], "disk", "{copy:#}");
    let save = app.client.get(&format!("/v1/saves/{}", job["save_id"].as_str().unwrap())).await.expect(200);
    assert!(save["copies"].as_array().unwrap().iter().all(|copy| copy["state"] == "good"), "{save:#}");
    app.holds().await;
    remove_grid(&app).await;
}

#[tokio::test]
async fn a_copy_that_is_needed_is_waited_for() {
    let mut app = App::spawn().await;
    let (proxy, held, _source) = stalled(&mut app, 2).await;
    // Twice as long as a copy that is not needed would have had.
    let waits = || app.logs().matches("its copy is needed").count() >= 2;
    until("it waits for grid", || async { waits().then_some(()) }).await;
    let job = app.client.job(&held.job).await;
    assert_eq!(job["state"], "running", "{job:#}");
    proxy.heal();
    let job = app.client.job_is(&held.job, "succeeded").await;
    let save = app.client.get(&format!("/v1/saves/{}", job["save_id"].as_str().unwrap())).await.expect(200);
    assert!(save["copies"].as_array().unwrap().iter().all(|copy| copy["state"] == "good"), "{save:#}");
    app.holds().await;
    remove_grid(&app).await;
}
