//! A deletion's order, and that it goes on wherever it was broken off.

use serde_json::{Value, json};
use support::{App, Database, Proxy, WorkerSpec, stack};

use super::{Grid, delete, in_both_stores, on_disk};

async fn object_states(app: &App, part: &str) -> Vec<String> {
    app.values(&format!("SELECT store || ' ' || state FROM save_objects WHERE part = '{part}' ORDER BY store")).await
}

#[tokio::test]
async fn a_deleted_save_is_a_tombstone_without_a_byte() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker("a").await;
    let target = in_both_stores(&mut app, &source).await;
    let (other, save) = (app.saved(&target).await, app.saved(&target).await);
    let grid = Grid::of(&app).await;
    assert!(on_disk(&app).keys().any(|key| key.contains(&save)));
    assert!(grid.files().await.iter().any(|key| key.contains(&save)));

    let job = app.client.delete(&format!("/v1/saves/{save}?wait=60s")).await;
    assert_eq!(job.header("location"), Some(format!("/v1/jobs/{}", job.body["id"].as_str().unwrap()).as_str()));
    let job = job.expect(202);
    assert_eq!((&job["kind"], &job["state"]), (&json!("delete"), &json!("succeeded")), "{job:#}");
    assert_eq!(job["result"]["objects"], 6, "dump, globals and manifest in each of two stores: {job:#}");

    let row = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    assert_eq!(row["state"], "deleted", "{row:#}");
    assert!(row["deleted_at"].is_string() && row["manifest"]["save"] == json!(save), "the tombstone says what it was");
    let states = |of: &Value| of.as_array().unwrap().iter().all(|thing| thing["state"] == "deleted");
    assert!(states(&row["copies"]) && states(&row["objects"]), "{row:#}");
    // What is left is the other save's, in both stores, and no empty directory.
    assert!(on_disk(&app).keys().all(|key| key.contains(&other)), "{:?}", on_disk(&app).keys());
    assert!(!app.values::<String>("SELECT key FROM save_objects WHERE state = 'deleted'").await.is_empty());
    let files = grid.files().await;
    assert!(files.len() == 3 && files.iter().all(|key| key.contains(&other)), "{files:?}");
    assert!(grid.chunks().await.len() >= 3);

    let told: Vec<String> =
        app.values(&format!("SELECT type FROM outbox WHERE subject = 'saves/{save}' ORDER BY position")).await;
    assert_eq!(told, ["save.completed", "save.deleting", "save.deleted"]);
    assert_eq!(app.history(job["id"].as_str().unwrap()).await, ["queued", "running", "succeeded"]);

    // Repeating it is harmless, and a tombstone restores nothing.
    delete(&app, &save).await.expect(204);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM jobs WHERE kind = 'delete'").await, 1);
    let body = json!({ "into": { "database": stack::fresh("new") } });
    let refused = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("deleted"), "{refused}");
    app.holds().await;
    grid.drop().await;
}

#[tokio::test]
async fn a_failed_save_can_be_deleted() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let target = in_both_stores(&mut app, &source).await;
    let job = app.backup(&target).await;
    app.client.post(&format!("/v1/jobs/{job}/cancel"), Value::Null).await.expect(200);
    let save = app.client.job(&job).await["save_id"].as_str().unwrap().to_owned();
    let _worker = app.worker("a").await;
    let job = app.client.delete(&format!("/v1/saves/{save}?wait=60s")).await.expect(202);
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert_eq!(app.client.get(&format!("/v1/saves/{save}")).await.expect(200)["state"], "deleted");
    app.holds().await;
}

#[tokio::test]
async fn manifests_go_first_and_a_worker_killed_after_them_is_followed_by_one_that_goes_on() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let spec = WorkerSpec { backoff_base_s: 3.0, ..WorkerSpec::named("a") };
    let mut worker = app.worker_with(&spec).await;
    let target = in_both_stores(&mut app, &source).await;
    let save = app.saved(&target).await;
    let grid = Grid::of(&app).await;
    // What cannot be unlinked: a directory where the dump was.
    let key = on_disk(&app).into_keys().find(|key| key.ends_with("dump.0001")).unwrap();
    let (dump, aside) = (app.store().join(&key), app.dir.path().join("aside"));
    std::fs::rename(&dump, &aside).unwrap();
    std::fs::create_dir(&dump).unwrap();

    let job = delete(&app, &save).await.id();
    let failed = app.client.job_until(&job, "failed once", |job| job["error"].is_object()).await;
    assert_eq!((&failed["error"]["code"], &failed["error"]["retryable"]), (&json!("store_failed"), &json!(true)));
    worker.kill9().await;
    assert_eq!(object_states(&app, "manifest.json").await, ["disk deleted", "grid deleted"]);
    assert!(!on_disk(&app).keys().any(|key| key.ends_with("manifest.json")));
    assert!(!grid.files().await.iter().any(|key| key.ends_with("manifest.json")));
    assert_eq!(object_states(&app, "dump.0001").await, ["disk deleting", "grid deleting"]);
    assert_eq!(app.value::<String>("SELECT state FROM saves").await, "deleting");
    // Nobody can restore what has no manifest any more.
    let body = json!({ "into": { "database": stack::fresh("new") } });
    app.client.post(&format!("/v1/saves/{save}/restore"), body).await.expect(409);

    std::fs::remove_dir(&dump).unwrap();
    std::fs::rename(&aside, &dump).unwrap();
    let _next = app.worker("b").await;
    let job = app.client.job_is(&job, "succeeded").await;
    assert!(job["attempt"].as_i64().unwrap() >= 2, "{job:#}");
    assert!(on_disk(&app).is_empty() && grid.files().await.is_empty() && grid.chunks().await.is_empty());
    assert_eq!(app.value::<String>("SELECT state FROM saves").await, "deleted");
    app.holds().await;
    grid.drop().await;
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_store_call_is_followed_by_one_that_goes_on() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let (proxy, uri) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let uri = format!("{uri}?serverSelectionTimeoutMS=2000&directConnection=true");
    let mut worker = app.worker_with(&WorkerSpec { mongo_uri: Some(uri), ..WorkerSpec::named("a") }).await;
    let target = in_both_stores(&mut app, &source).await;
    let save = app.saved(&target).await;
    let grid = Grid::of(&app).await;
    // MongoDB falls silent: the deletion hangs in it.
    proxy.stall();
    let job = delete(&app, &save).await.id();
    app.client.job_until(&job, "running", |job| job["state"] == "running").await;
    worker.kill9().await;
    let _next = app.worker("b").await;
    app.client.job_is(&job, "succeeded").await;
    assert!(on_disk(&app).is_empty() && grid.files().await.is_empty() && grid.chunks().await.is_empty());
    app.holds().await;
    grid.drop().await;
}

#[tokio::test]
async fn a_store_that_is_away_fails_the_job_and_the_deletion_goes_on_when_asked_again() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let (proxy, uri) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let uri = format!("{uri}?serverSelectionTimeoutMS=1000&directConnection=true");
    let _worker = app.worker_with(&WorkerSpec { mongo_uri: Some(uri), ..WorkerSpec::named("a") }).await;
    let target = in_both_stores(&mut app, &source).await;
    let save = app.saved(&target).await;
    let before = on_disk(&app);
    proxy.cut();
    let first = delete(&app, &save).await.id();
    let failed = app.client.job_is(&first, "failed").await;
    assert_eq!(failed["error"]["code"], "store_unreachable", "{failed:#}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("grid"), "it says which store: {failed:#}");
    assert_eq!(app.value::<String>("SELECT state FROM saves").await, "deleting");
    assert_eq!(on_disk(&app), before, "nothing goes before all stores have answered");

    // A new job for each way to ask again.
    let second = app.client.post(&format!("/v1/jobs/{first}/retry"), Value::Null).await.expect(202);
    assert_eq!(second["retry_of"], json!(first));
    let second = second["id"].as_str().unwrap().to_owned();
    app.client.job_is(&second, "failed").await;
    proxy.heal();
    let third = delete(&app, &save).await.id();
    assert!(third != first && third != second);
    app.client.job_is(&third, "succeeded").await;
    assert!(on_disk(&app).is_empty());
    // The events of the save's own are those of one deletion.
    let told: Vec<String> =
        app.values(&format!("SELECT type FROM outbox WHERE subject = 'saves/{save}' ORDER BY position")).await;
    assert_eq!(told, ["save.completed", "save.deleting", "save.deleted"]);
    let refused = app.client.post(&format!("/v1/jobs/{second}/retry"), Value::Null).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("deleted already"), "{refused}");
    app.holds().await;
    Grid::of(&app).await.drop().await;
}

#[tokio::test]
async fn sixty_four_deletions_are_one_job() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let mut worker = app.worker("a").await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    assert!(worker.stop().await.success());
    let answers = futures_util::future::join_all((0..64).map(|_| delete(&app, &save))).await;
    let mut jobs: Vec<String> =
        answers.into_iter().map(|answer| answer.expect(202)["id"].as_str().unwrap().to_owned()).collect();
    jobs.dedup();
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let _worker = app.worker("b").await;
    app.client.job_is(&jobs[0], "succeeded").await;
    assert!(on_disk(&app).is_empty());
    app.holds().await;
}
