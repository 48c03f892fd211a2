//! Into a database that does not exist yet: whole, or nothing of it.

use serde_json::json;
use support::{stack, until};

use super::scene::{Scene, Shop};
use crate::chaos::bench::{killed, spec};

#[tokio::test]
async fn a_save_comes_out_in_a_new_database_as_it_was() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let copy = Shop::named(&stack::fresh("copy")).await;
    let body = json!({ "into": { "database": copy.name } });
    let job = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body.clone()).await.id();
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(copy.contents().await, scene.saved, "{done:#}");
    let result = &done["result"];
    assert_eq!((&result["kept"], &result["atomic"]), (&json!(null), &json!(false)), "{result:#}");
    assert_eq!(result["collections"].as_array().unwrap().len(), scene.saved.len(), "{result:#}");
    assert_eq!(copy.asides().await, Vec::<String>::new());
    assert_eq!(scene.shop.contents().await, scene.damaged, "the target's own was touched");

    // It holds something now: nothing is restored over it.
    let again = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body).await.id();
    let failed = scene.app.client.job_is(&again, "failed").await;
    assert_eq!(failed["error"]["code"], "database_exists", "{failed:#}");
    assert_eq!(copy.contents().await, scene.saved);
    scene.app.holds().await;
}

#[tokio::test]
async fn bytes_that_are_not_what_was_saved_leave_nothing() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let dump = walk(&scene.app.store()).into_iter().find(|path| path.ends_with("dump.0001")).unwrap();
    let whole = std::fs::read(&dump).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (what, bytes) in [("flipped", flipped.as_slice()), ("cut off", &whole[..whole.len() - 7]), ("empty", &[])] {
        std::fs::write(&dump, bytes).unwrap();
        let copy = Shop::named(&stack::fresh("copy")).await;
        let body = json!({ "into": { "database": copy.name } });
        let job = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body).await.id();
        let failed = scene.app.client.job_is(&job, "failed").await;
        assert_eq!(failed["error"]["code"], "object_corrupt", "{what}: {failed:#}");
        assert_eq!(copy.names().await, Vec::<String>::new(), "{what}");
        let job = scene.restore(json!({ "safety": false })).await;
        let failed = scene.app.client.job_is(&job, "failed").await;
        assert_eq!(failed["error"]["code"], "object_corrupt", "{what}: {failed:#}");
        assert_eq!(scene.shop.contents().await, scene.damaged, "{what}");
        assert_eq!(scene.shop.asides().await, Vec::<String>::new(), "{what}");
    }
    std::fs::write(&dump, &whole).unwrap();
    scene.app.holds().await;
}

#[tokio::test]
async fn what_a_dead_worker_left_is_taken_away() {
    let scene = Scene::set().await;
    let copy = Shop::named(&stack::fresh("copy")).await;
    let body = json!({ "into": { "database": copy.name } });
    let job = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body).await.id();
    let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", "mongo.staged=kill"));
    killed(&mut first, "mongo.staged").await;
    assert_eq!(copy.asides().await.len(), scene.saved.len(), "{:?}", copy.names().await);
    // Nobody comes back to it.
    scene.app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    let elsewhere = Shop::named(&stack::fresh("copy")).await;
    let body = json!({ "into": { "database": elsewhere.name } });
    let next = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body).await.id();
    scene.app.client.job_is(&next, "succeeded").await;
    assert_eq!(elsewhere.contents().await, scene.saved);
    until("the next restore on the server has dropped it", || async { copy.names().await.is_empty().then_some(()) })
        .await;
    scene.app.holds().await;
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
