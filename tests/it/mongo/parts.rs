//! Some collections of a save, in place or into another database; and what is asked for and cannot be.

use serde_json::json;
use support::{TargetSpec, stack};

use super::scene::{Scene, Shop};

#[tokio::test]
async fn collections_are_replaced_alone_and_put_back() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({ "safety": false, "collections": ["lots", "large"] })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    let mut expected = scene.damaged.clone();
    for name in ["lots", "large"] {
        expected.insert(name.to_owned(), scene.saved[name].clone());
    }
    assert_eq!(scene.shop.contents().await, expected, "{done:#}");
    assert_eq!(scene.shop.asides().await.len(), 1, "only lots had to make way");
    let undo = scene.undo(&job).await;
    scene.app.client.job_is(&undo, "succeeded").await;
    assert_eq!(scene.shop.contents().await, scene.damaged);
    scene.app.holds().await;
}

#[tokio::test]
async fn collections_are_restored_into_another_database() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let copy = Shop::named(&stack::fresh("copy")).await;
    let body = json!({ "into": { "database": copy.name }, "collections": ["Ключ.с точками"] });
    let job = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body).await.id();
    scene.app.client.job_is(&job, "succeeded").await;
    let contents = copy.contents().await;
    assert_eq!(contents.len(), 1);
    assert_eq!(contents["Ключ.с точками"], scene.saved["Ключ.с точками"]);
    // And beside what is there by now.
    let body = json!({ "into": { "database": copy.name }, "collections": ["lots"], "confirm": copy.name });
    let job = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body).await.id();
    scene.app.client.job_is(&job, "succeeded").await;
    let contents = copy.contents().await;
    assert_eq!(contents.keys().collect::<Vec<_>>(), ["lots", "Ключ.с точками"]);
    assert_eq!(contents["lots"], scene.saved["lots"]);
    assert_eq!(scene.shop.contents().await, scene.damaged);
    scene.app.holds().await;
}

#[tokio::test]
async fn what_cannot_be_had_is_refused() {
    let mut scene = Scene::set().await;
    let client = &scene.app.client;
    let path = format!("/v1/saves/{}/restore", scene.save);
    for (pointer, more) in [
        ("/tables", json!({ "tables": [{ "schema": "public", "table": "lots" }] })),
        ("/mode", json!({ "mode": "schema" })),
        ("/owner", json!({ "owner": "keep" })),
        ("/method", json!({ "method": "direct" })),
        ("/collections/1", json!({ "collections": ["lots", "lots"] })),
        ("/confirm", json!({ "confirm": "another" })),
    ] {
        let mut body = json!({ "into": {}, "confirm": scene.shop.name });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = client.post(&path, body).await.expect(422);
        assert!(refused.to_string().contains(pointer), "{pointer}: {refused:#}");
    }
    let postgres = support::Database::small().await;
    let target = scene.app.target_with(&TargetSpec::of(&postgres.name)).await;
    let body = json!({ "into": { "target_id": target, "database": "copy" } });
    let refused = scene.app.client.post(&path, body).await.expect(422);
    assert!(refused.to_string().contains("another kind"), "{refused:#}");

    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({ "safety": false, "collections": ["lots", "Lots"] })).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "table_not_in_save", "{failed:#}");
    assert_eq!(scene.shop.contents().await, scene.damaged);
    assert_eq!(scene.shop.asides().await, Vec::<String>::new());
    scene.app.holds().await;
}
