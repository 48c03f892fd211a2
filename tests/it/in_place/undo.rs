//! Undo: what was put aside goes back into its place, and what makes way for it is kept in its turn.

use serde_json::json;
use support::{Digest, database};

use super::{Scene, asides};

#[tokio::test]
async fn an_undo_can_be_undone() {
    let scene = Scene::set().await;
    let name = &scene.auction.database.name;
    let _worker = scene.app.worker("one").await;
    let restore = scene.restore(json!({ "safety": false })).await;
    scene.app.client.job_is(&restore, "succeeded").await;
    // What was written since the restore is not lost either.
    database::run(&mut scene.auction.database.session().await, "INSERT INTO lots VALUES (5000, 'since')").await;
    let since = scene.auction.digest().await;

    let undo = scene.undo(&restore).await;
    let undone = scene.app.client.job_is(&undo, "succeeded").await;
    assert_eq!(scene.auction.digest().await, scene.damaged, "{undone:#}");
    let said = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()";
    assert_eq!(scene.auction.database.text(said).await, "the auction's", "no mark of ours is left");
    let kept = undone["result"]["kept"]["database"].as_str().unwrap();
    assert_eq!(asides(name).await, [kept]);
    assert_eq!(Digest::of(kept).await, since);
    let again = scene.app.client.post(&format!("/v1/jobs/{restore}/undo"), json!({ "confirm": name })).await;
    assert!(again.expect(409)["detail"].as_str().unwrap().contains("swapped back"));

    let redo = scene.undo(&undo).await;
    scene.app.client.job_is(&redo, "succeeded").await;
    assert_eq!(scene.auction.digest().await, since);
    let states: Vec<String> = scene.app.values("SELECT state FROM kept_databases ORDER BY kept_at").await;
    assert_eq!(states, ["restored", "restored", "kept"]);
    let events: Vec<String> =
        scene.app.values("SELECT type FROM outbox WHERE type LIKE 'restore.%' ORDER BY position").await;
    assert_eq!(events, ["restore.completed", "restore.undone", "restore.undone"]);
    scene.app.holds().await;
}

#[tokio::test]
async fn an_undo_without_what_was_kept_says_so() {
    let scene = Scene::set().await;
    let name = &scene.auction.database.name;
    let _worker = scene.app.worker("one").await;
    let restore = scene.restore(json!({ "safety": false })).await;
    let done = scene.app.client.job_is(&restore, "succeeded").await;
    let kept = done["result"]["kept"]["database"].as_str().unwrap();
    database::run(&mut database::connect("postgres").await, &format!("DROP DATABASE {kept}")).await;
    let undo = scene.undo(&restore).await;
    let failed = scene.app.client.job_is(&undo, "failed").await;
    assert_eq!(failed["error"]["code"], "nothing_kept", "{failed:#}");
    assert_eq!(scene.auction.digest().await, scene.saved);
    assert_eq!(asides(name).await, Vec::<String>::new());
    scene.app.holds().await;
}

#[tokio::test]
async fn what_was_put_aside_is_looked_for_where_it_is() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let restore = scene.restore(json!({ "safety": false })).await;
    let done = scene.app.client.job_is(&restore, "succeeded").await;
    // The target moves to another server: here, another name of the same one.
    scene
        .app
        .execute(
            "INSERT INTO servers SELECT (jsonb_populate_record(s, jsonb_build_object('id', gen_random_uuid(), 'name', 'moved'))).* FROM servers s;
             UPDATE targets SET server_id = (SELECT id FROM servers WHERE name = 'moved')",
        )
        .await;
    let undo = scene.undo(&restore).await;
    let failed = scene.app.client.job_is(&undo, "failed").await;
    assert_eq!(failed["error"]["code"], "target_changed", "{failed:#}");
    scene.app.execute("UPDATE kept_databases SET keep_until = clock_timestamp()").await;
    support::until("a job to drop it has failed, too", || async {
        let failed: i64 = scene.app.value("SELECT count(*) FROM jobs WHERE kind = 'expire' AND state = 'failed'").await;
        (failed == 1).then_some(())
    })
    .await;
    let kept = done["result"]["kept"]["database"].as_str().unwrap();
    assert_eq!(Digest::of(kept).await, scene.damaged, "it was touched");
    let state: String = scene.app.value("SELECT state FROM kept_databases").await;
    assert_eq!(state, "kept");
    scene.app.holds().await;
}
