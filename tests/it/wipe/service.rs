//! All databases of a service, as a group.

use serde_json::json;
use support::Owned;

use super::{SHOP, Scene};
use crate::mongo::scene::Shop;

#[tokio::test]
async fn every_database_of_a_service_is_wiped_and_no_other() {
    let mut scene = Scene::set().await;
    let shop = Shop::open().await;
    shop.fill().await;
    scene.app.target_with(&shop.spec()).await;
    let bystander = Owned::create(SHOP).await;
    let before = bystander.digest().await;
    let _worker = scene.app.worker("one").await;
    let service = scene.app.service().await;
    let path = format!("/v1/services/{service}/wipe");
    for body in [json!({}), json!({ "confirm": "items2" }), json!({ "confirm": "items", "keep": [""] })] {
        scene.app.client.post(&path, body).await.expect(422);
    }
    scene.untouched().await;
    let dry = scene.app.client.post(&format!("{path}?wait=30s"), json!({ "dry_run": true })).await.expect(202);
    assert!(dry["jobs"].as_array().unwrap().iter().all(|one| one["save_id"].is_null()), "{dry:#}");
    scene.untouched().await;

    let asked = scene.app.client.post(&format!("{path}?wait=60s"), json!({ "confirm": "items" })).await.expect(202);
    assert_eq!(asked["jobs"].as_array().unwrap().len(), 2, "{asked:#}");
    let group = asked["group_id"].as_str().unwrap();
    let group = scene.app.client.get(&format!("/v1/groups/{group}?wait=60s")).await.expect(200);
    assert_eq!(group["state"], "succeeded", "{group:#}");
    assert!(scene.is_empty().await);
    assert!(shop.contents().await.values().all(|content| content.documents.is_empty()));
    assert_eq!(bystander.digest().await, before);
    let safety: i64 = scene
        .app
        .value("SELECT count(*) FROM saves WHERE state = 'available' AND origin = 'safety' AND verified_at IS NOT NULL")
        .await;
    assert_eq!(safety, 2);
    scene.app.holds().await;
}
