//! What can be asked: made, shown, looked at, restored, undone, gone on with; and what is refused.

use serde_json::{Value, json};

use super::{Scene, ended, events};

#[tokio::test]
async fn it_is_restored_as_one_and_undone_as_one() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let client = &scene.app.client;
    let dry = scene.restore(json!({ "dry_run": true })).await;
    ended(&scene.app, &dry, "checked").await;
    assert_eq!(scene.now().await, scene.damaged, "a look changes nothing");

    let id = scene.restore(json!({ "safety": true })).await;
    let done = ended(&scene.app, &id, "succeeded").await;
    assert!(scene.now().await == scene.saved, "{done:#}");
    let states: Vec<_> = done["members"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["swapped", "swapped"]);
    let safety: i64 =
        scene.app.value("SELECT count(*) FROM saves WHERE origin = 'safety' AND state = 'available'").await;
    assert_eq!(safety, 2);
    // Of the jobs of both none succeeded out of turn: all were staged before one was swapped.
    let order: Vec<String> = scene
        .app
        .values(&format!("SELECT kind FROM jobs WHERE group_id = '{id}' AND kind <> 'preflight' ORDER BY started_at"))
        .await;
    assert_eq!(order, ["restore", "restore", "undo", "undo"]);

    // One by one they are not to be had: the whole is.
    for job in scene.app.values::<String>(&format!("SELECT id::text FROM jobs WHERE group_id = '{id}'")).await {
        let one = client.post(&format!("/v1/jobs/{job}/undo"), json!({ "confirm": scene.auction.database.name })).await;
        one.expect(409);
    }
    let path = format!("/v1/data-set-restores/{id}/undo");
    client.post(&path, json!({ "confirm": "demo2" })).await.expect(422);
    client.post(&path, json!({ "confirm": "demo" })).await.expect(202);
    ended(&scene.app, &id, "undone").await;
    assert!(scene.now().await == scene.damaged, "what was there before is there again");

    let path = format!("/v1/data-set-restores/{id}/resume?wait=60s");
    let again = client.post(&path, json!({ "confirm": "demo" })).await.expect(202);
    assert_eq!(again["state"], "succeeded", "{again:#}");
    assert!(scene.now().await == scene.saved);
    assert_eq!(events(&scene.app).await, ["data_set.restored", "data_set.undone", "data_set.restored"]);
    let list = client.get(&format!("/v1/data-set-restores?data_set={}", scene.set)).await.expect(200);
    assert_eq!(list.as_array().unwrap().len(), 2, "{list:#}");
    scene.app.holds().await;
}

#[tokio::test]
async fn it_holds_its_saves_until_it_is_deleted() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let client = &scene.app.client;
    let refused = client.delete(&format!("/v1/saves/{}", scene.saves[0])).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("data set demo"), "{refused:#}");
    let shown = client.get(&format!("/v1/data-sets/{}", scene.set)).await.expect(200);
    assert_eq!(shown["members"][1]["save_id"], scene.saves[1].as_str(), "{shown:#}");
    assert!(shown["span"]["seconds"].as_i64().unwrap() >= 0);
    let by_name = client.get("/v1/data-sets?name=demo").await.expect(200);
    assert_eq!(by_name[0]["id"], scene.set.as_str());

    client.delete(&format!("/v1/data-sets/{}", scene.set)).await.expect(204);
    client.get(&format!("/v1/data-sets/{}", scene.set)).await.expect(404);
    client.delete(&format!("/v1/saves/{}", scene.saves[0])).await.expect(202);
}

#[tokio::test]
async fn it_is_made_of_what_was_good_at_a_moment() {
    let scene = Scene::set().await;
    let mut worker = scene.app.worker("one").await;
    let client = &scene.app.client;
    let between: String = scene.app.value("SELECT to_json(clock_timestamp()) #>> '{}'").await;
    let target: String = scene.app.value("SELECT id::text FROM targets ORDER BY created_at LIMIT 1").await;
    let later = scene.app.saved(&target).await;
    worker.stop().await;
    let make = async |name: &str, at: &str, more: Value| {
        let mut body = json!({ "name": name, "as_of": at });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        client.post("/v1/data-sets", body).await
    };
    let saves = |set: &Value| -> Vec<String> {
        let members = set["members"].as_array().unwrap().iter();
        members.map(|one| one["save_id"].as_str().unwrap().to_owned()).collect()
    };
    let mut then = saves(&make("then", &between, json!({})).await.expect(201));
    then.sort();
    let mut both = scene.saves.to_vec();
    both.sort();
    assert_eq!(then, both);
    // What is unlike those before it is not taken for good, until somebody says that it is.
    let now = saves(&make("now", "2100-01-01T00:00:00Z", json!({})).await.expect(201));
    assert!(!now.contains(&later), "{now:?}");
    client.post(&format!("/v1/saves/{later}/accept"), Value::Null).await.expect(200);
    let accepted = saves(&make("accepted", "2100-01-01T00:00:00Z", json!({})).await.expect(201));
    assert!(accepted.contains(&later) && accepted.contains(&scene.saves[1]), "{accepted:?}");
    make("now", "2100-01-01T00:00:00Z", json!({})).await.expect(409);

    // What somebody calls invalid is passed over; where nothing is left it is said of which target.
    scene.app.execute(&format!("UPDATE saves SET valid = false WHERE id = '{}'", scene.saves[1])).await;
    let missing = make("none", &between, json!({})).await.expect(422);
    assert!(missing["errors"][0]["detail"].as_str().unwrap().contains("has no good save of then"), "{missing:#}");
    let rest = make("rest", &between, json!({ "allow_missing": true })).await.expect(201);
    assert_eq!(saves(&rest), [scene.saves[0].as_str()]);
    make("old", "2000-01-01T00:00:00Z", json!({ "allow_missing": true })).await.expect(422);
    // And what it holds is not restored any more, all of it.
    let path = format!("/v1/data-sets/{}/restore", scene.set);
    let refused = client.post(&path, json!({ "confirm": "demo" })).await.expect(422);
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("not valid any more"), "{refused:#}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let scene = Scene::set().await;
    let client = &scene.app.client;
    let [one, other] = &scene.saves;
    let nobody = "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50";
    for (body, pointer) in [
        (json!({ "name": "x" }), "/saves"),
        (json!({ "name": "x", "saves": [] }), "/saves"),
        (json!({ "name": "x", "saves": [one], "as_of": "2026-01-01T00:00:00Z" }), "/as_of"),
        (json!({ "name": "x", "saves": [one], "allow_missing": true }), "/allow_missing"),
        (json!({ "name": "x", "saves": [one, other, one] }), "/saves/2"),
        (json!({ "name": "x", "saves": [one, nobody] }), "/saves/1"),
        (json!({ "name": "x", "as_of": "2026-01-01T00:00:00Z", "services": [nobody] }), "/services/0"),
    ] {
        let refused = client.post("/v1/data-sets", body.clone()).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused:#}");
    }
    let path = format!("/v1/data-sets/{}/restore", scene.set);
    for body in [json!({}), json!({ "confirm": "another" }), json!({ "confirm": "demo", "keep_old_hours": 0 })] {
        client.post(&path, body).await.expect(422);
    }
    // While one is under way there is no other, and it is not deleted.
    let id = scene.restore(json!({})).await;
    client.post(&path, json!({ "confirm": "demo" })).await.expect(409);
    client.delete(&format!("/v1/data-sets/{}", scene.set)).await.expect(409);
    // Nor of another data set on the same targets.
    let part = client.post("/v1/data-sets", json!({ "name": "part", "saves": [other] })).await.id();
    client.post(&format!("/v1/data-sets/{part}/restore"), json!({ "confirm": "part" })).await.expect(409);
    for word in ["resume", "undo"] {
        client.post(&format!("/v1/data-set-restores/{id}/{word}"), json!({ "confirm": "demo" })).await.expect(409);
    }
    let _worker = scene.app.worker("one").await;
    ended(&scene.app, &id, "succeeded").await;
    assert!(scene.now().await == scene.saved);
    scene.app.holds().await;
}
