//! In the place of the target's own database: collections change names one after another, and wherever that is interrupted
//! the next worker brings it to its end, or back.

use mongodb::bson::{Document, doc};
use serde_json::json;
use support::until;

use super::scene::Scene;
use crate::chaos::bench::{for_each, frozen, handed_on, killed, spec};

#[tokio::test]
async fn a_damaged_database_is_put_back_kept_aside_and_put_back_again() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({})).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(scene.shop.contents().await, scene.saved, "{done:#}");
    let result = &done["result"];
    assert_eq!((&result["method"], &result["atomic"]), (&json!("renames"), &json!(false)), "{result:#}");
    assert_eq!(result["warnings"], json!([]), "{result:#}");
    let prefix = result["kept"]["prefix"].as_str().unwrap();
    let asides = scene.shop.asides().await;
    assert!(asides.len() == scene.damaged.len() && asides.iter().all(|name| name.starts_with(prefix)), "{asides:?}");
    let safety = scene.app.client.get(&format!("/v1/saves/{}", done["save_id"].as_str().unwrap())).await.expect(200);
    assert_eq!((&safety["state"], &safety["origin"]), (&json!("available"), &json!("safety")), "{safety:#}");

    // What was written since the restore is not lost either.
    let lots = scene.shop.database.collection::<Document>("lots");
    lots.insert_one(doc! { "_id": "since" }).await.unwrap();
    let since = scene.shop.contents().await;
    let undo = scene.undo(&job).await;
    let undone = scene.app.client.job_is(&undo, "succeeded").await;
    assert_eq!(scene.shop.contents().await, scene.damaged, "{undone:#}");
    let again = scene.app.client.post(&format!("/v1/jobs/{job}/undo"), json!({ "confirm": scene.shop.name })).await;
    again.expect(409);
    let redo = scene.undo(&undo).await;
    scene.app.client.job_is(&redo, "succeeded").await;
    assert_eq!(scene.shop.contents().await, since);
    let states: Vec<String> = scene.app.values("SELECT state FROM kept_databases ORDER BY kept_at").await;
    assert_eq!(states, ["restored", "restored", "kept"]);

    // When its time is over it is dropped, and nothing else.
    scene.app.execute("UPDATE kept_databases SET keep_until = clock_timestamp() WHERE state = 'kept'").await;
    until("what was kept is dropped", || async {
        let kept: i64 = scene.app.value("SELECT count(*) FROM kept_databases WHERE state = 'kept'").await;
        (kept == 0).then_some(())
    })
    .await;
    assert_eq!(scene.shop.asides().await, Vec::<String>::new());
    assert_eq!(scene.shop.contents().await, since);
    scene.app.holds().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({ "dry_run": true })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    let result = &done["result"];
    assert_eq!((&result["would_fail"], &result["problems"]), (&json!(false), &json!([])), "{result:#}");
    let would = &result["would"];
    let create: Vec<&str> =
        would["create"].as_array().unwrap().iter().map(|one| one["collection"].as_str().unwrap()).collect();
    let mut expected: Vec<&str> = scene.saved.keys().map(String::as_str).collect();
    expected.sort_unstable();
    let mut sorted = create.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "{would:#}");
    assert!(would["put_aside"].as_array().unwrap().contains(&json!("later")), "{would:#}");
    assert_eq!(scene.shop.contents().await, scene.damaged);
    assert_eq!(scene.shop.asides().await, Vec::<String>::new());
    scene.app.holds().await;
}

/// What the next worker makes of a job.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It works through it once more.
    Again,
    /// It brings it to its end.
    Resumed,
}

/// Eight renames: four collections of the damaged database make way, and the four of the save come in.
const POINTS: &[(&str, Then)] = &[
    ("mongo.staged=kill", Then::Again),
    ("journal.commit.before=kill", Then::Again),
    ("journal.commit.after=kill", Then::Resumed),
    ("mongo.rename.before=kill", Then::Resumed),
    ("mongo.rename.after=kill", Then::Resumed),
    ("mongo.rename.before=kill:3", Then::Resumed),
    ("mongo.rename.after=kill:4", Then::Resumed),
    ("mongo.rename.before=kill:6", Then::Resumed),
    ("mongo.rename.after=kill:7", Then::Resumed),
    ("mongo.views.before=kill", Then::Resumed),
    ("mongo.views.after=kill", Then::Resumed),
    ("finish.commit.before=kill", Then::Resumed),
];

#[tokio::test]
async fn a_worker_that_is_killed_anywhere_is_followed_by_one_that_ends_it() {
    for_each(POINTS, |(point, then)| async move {
        let scene = Scene::set().await;
        let job = scene.restore(json!({ "safety": false })).await;
        let _second = handed_on(&scene.app, &job, point, *then == Then::Resumed).await;
        let ended = scene.app.client.job_is(&job, "succeeded").await;
        assert_eq!(scene.shop.contents().await, scene.saved, "{point}: {ended:#}");
        assert_eq!(ended["result"]["resolved"] == true, *then == Then::Resumed, "{point}: {ended:#}");
        let asides = scene.shop.asides().await;
        let prefix = ended["result"]["kept"]["prefix"].as_str().unwrap();
        assert!(asides.len() == scene.damaged.len(), "{point}: {asides:?}");
        assert!(asides.iter().all(|name| name.starts_with(prefix)), "{point}: {asides:?}");
        let undo = scene.undo(&job).await;
        scene.app.client.job_is(&undo, "succeeded").await;
        assert_eq!(scene.shop.contents().await, scene.damaged, "{point}");
        scene.app.holds().await;
        scene
    })
    .await;
}

#[tokio::test]
async fn where_there_is_no_way_on_all_goes_back() {
    let scene = Scene::set().await;
    let job = scene.restore(json!({ "safety": false })).await;
    let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", "mongo.rename.after=kill:3"));
    killed(&mut first, "mongo.rename.after").await;
    // Somebody tidies up what he does not know.
    let staged = scene.shop.asides().await.into_iter().find(|name| !name.starts_with("__hf_old_")).unwrap();
    scene.shop.database.collection::<Document>(&staged).drop().await.unwrap();
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "target_changed", "{failed:#}");
    assert_eq!(scene.shop.contents().await, scene.damaged);
    assert_eq!(scene.shop.asides().await, Vec::<String>::new());
    scene.app.holds().await;
}

#[tokio::test]
async fn a_worker_that_freezes_changes_nothing_when_it_thaws() {
    let scene = Scene::set().await;
    let job = scene.restore(json!({ "safety": false })).await;
    let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", "mongo.rename.after=freeze:2"));
    frozen(&scene.app, &mut first, "mongo.rename.after").await;
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    let ended = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(scene.shop.contents().await, scene.saved, "{ended:#}");
    let names = scene.shop.names().await;
    first.thaw();
    assert!(first.stop().await.success(), "{}", first.tail());
    assert_eq!(scene.shop.contents().await, scene.saved);
    assert_eq!(scene.shop.names().await, names);
    assert_eq!(scene.app.client.job(&job).await, ended);
    scene.app.holds().await;
}
