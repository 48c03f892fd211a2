//! What a restore in place refuses, and that it has then touched nothing.

use serde_json::{Value, json};
use support::{database, stack};

use super::{Scene, asides};

#[tokio::test]
async fn without_its_name_said_nothing_is_replaced() {
    let scene = Scene::set().await;
    let name = &scene.auction.database.name;
    let path = format!("/v1/saves/{}/restore", scene.save);
    let wrong = [
        (json!({ "into": {} }), "/confirm"),
        (json!({ "into": {}, "confirm": "somethingelse" }), "/confirm"),
        (json!({ "into": { "database": name } }), "/confirm"),
        (json!({ "into": {}, "confirm": name, "keep_old_hours": 100_000 }), "/keep_old_hours"),
        (json!({ "into": { "database": "other" }, "confirm": "other" }), "/confirm"),
        (json!({ "into": { "database": "other" }, "safety": false }), "/safety"),
        (json!({ "into": { "database": "other" }, "method": "swap" }), "/method"),
        (json!({ "into": { "database": "other" }, "keep_old_hours": 1 }), "/keep_old_hours"),
    ];
    for (body, pointer) in wrong {
        let problem = scene.app.client.post(&path, body.clone()).await.expect(422);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem:#}");
    }
    let jobs: i64 = scene.app.value("SELECT count(*) FROM jobs WHERE kind <> 'backup'").await;
    assert_eq!(jobs, 0);
    let saves: i64 = scene.app.value("SELECT count(*) FROM saves").await;
    assert_eq!(saves, 1, "no safety save was begun");
    scene.app.holds().await;
}

#[tokio::test]
async fn what_is_tied_to_the_database_keeps_it_in_place() {
    let scene = Scene::set().await;
    let name = &scene.auction.database.name;
    let subscription = stack::fresh("sub");
    let mut session = scene.auction.database.session().await;
    let sql = format!(
        "CREATE SUBSCRIPTION {subscription} CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false)"
    );
    database::run(&mut session, &sql).await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({})).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    let error = &failed["error"];
    assert_eq!(error["code"], "database_tied", "{failed:#}");
    assert!(error["message"].as_str().unwrap().contains(&format!("subscription {subscription}")), "{error:#}");
    let drop = format!(
        "ALTER SUBSCRIPTION {subscription} DISABLE; ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE); DROP SUBSCRIPTION {subscription}"
    );
    for sql in drop.split("; ") {
        database::run(&mut session, sql).await;
    }
    assert_eq!(scene.auction.digest().await, scene.damaged);
    assert_eq!(asides(name).await, Vec::<String>::new());
    let safety: Value =
        scene.app.client.get(&format!("/v1/saves/{}", failed["save_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(safety["state"], "failed", "{safety:#}");
    scene.app.holds().await;
}

#[tokio::test]
async fn a_session_that_may_not_be_ended_keeps_everything_as_it_was() {
    let scene = Scene::set().await;
    // A superuser's: the restore role may not end it.
    let _held = scene.auction.database.session().await;
    let mut held = scene.auction.database.session().await;
    database::run(&mut held, "BEGIN; SELECT count(*) FROM lots").await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({ "safety": false })).await;
    let failed = scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(failed["error"]["code"], "database_in_use", "{failed:#}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("as it was"), "{failed:#}");
    assert_eq!(scene.auction.digest().await, scene.damaged);
    assert_eq!(asides(&scene.auction.database.name).await, Vec::<String>::new());
    scene.app.holds().await;
}

#[tokio::test]
async fn what_one_is_connected_to_cannot_be_swapped() {
    let scene = Scene::set().await;
    let name = &scene.auction.database.name;
    scene.app.execute(&format!("UPDATE servers SET maintenance_database = '{name}'")).await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({ "safety": false })).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    let error = &failed["error"];
    assert_eq!(error["code"], "invalid_request", "{failed:#}");
    assert!(error["hint"].as_str().unwrap().contains("maintenance_database"), "{error:#}");
    assert_eq!(scene.auction.digest().await, scene.damaged);
    scene.app.holds().await;
}
