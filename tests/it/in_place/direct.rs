//! Inside the database, where the restore role may not create another: one transaction.

use serde_json::json;
use support::{Owned, database, stack};

use super::{Scene, asides};

/// A role that owns what the auction owns, and may create nothing beside it.
async fn poor_role(auction: &str) -> (String, String) {
    let role = stack::fresh("poor");
    let mut server = database::connect("postgres").await;
    let owner = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1";
    let owner: String = sqlx::query_scalar(owner).bind(auction).fetch_one(&mut server).await.unwrap();
    let sql = format!("CREATE ROLE {role} LOGIN PASSWORD 'poor but honest 1'; GRANT {owner} TO {role}");
    database::run(&mut server, &sql).await;
    (role, "poor but honest 1".to_owned())
}

async fn scene() -> (Scene, String) {
    let mut poor = String::new();
    let name = &mut poor;
    let scene = Scene::set_after(async |auction: &Owned, spec| {
        spec.restore = poor_role(&auction.database.name).await;
        name.clone_from(&spec.restore.0);
    })
    .await;
    (scene, poor)
}

async fn clean(scene: Scene, poor: String) {
    drop(scene);
    database::run(&mut database::connect("postgres").await, &format!("DROP ROLE {poor}")).await;
}

#[tokio::test]
async fn without_createdb_the_restore_works_inside() {
    let (scene, poor) = scene().await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({})).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(done["result"]["method"], "direct", "{done:#}");
    let warnings = done["result"]["warnings"].to_string();
    assert!(warnings.contains("CREATEDB") && warnings.contains("was left"), "{done:#}");
    // What the save does not hold stays; all else is as it was saved.
    assert_eq!(scene.auction.database.text("SELECT id::text FROM auctions").await, "7");
    scene.auction.without_later().await;
    assert_eq!(scene.auction.digest().await, scene.saved);
    assert_eq!(asides(&scene.auction.database.name).await, Vec::<String>::new());
    let name = &scene.auction.database.name;
    let refused = scene.app.client.post(&format!("/v1/jobs/{job}/undo"), json!({ "confirm": name })).await;
    assert!(refused.expect(409)["detail"].as_str().unwrap().contains("safety save"));
    scene.app.holds().await;
    clean(scene, poor).await;
}

#[tokio::test]
async fn a_swap_that_was_asked_for_is_not_replaced_by_something_else() {
    let (scene, poor) = scene().await;
    let _worker = scene.app.worker("one").await;
    let job = scene.restore(json!({ "method": "swap" })).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "permission_denied", "{failed:#}");
    assert!(failed["error"]["message"].as_str().unwrap().contains("CREATEDB"), "{failed:#}");
    assert_eq!(scene.auction.digest().await, scene.damaged);
    scene.app.holds().await;
    clean(scene, poor).await;
}

#[tokio::test]
async fn damage_and_dependants_leave_the_database_as_it_was() {
    let (scene, poor) = scene().await;
    let _worker = scene.app.worker("one").await;
    // A later migration's view depends on a table of the save: it cannot be dropped, and all is rolled back.
    let session = &mut scene.auction.database.session().await;
    let sql = format!("SET ROLE {}; CREATE VIEW later AS SELECT id FROM lots", scene.auction.role);
    database::run(session, &sql).await;
    let damaged = scene.auction.digest().await;
    let job = scene.restore(json!({ "safety": false })).await;
    let failed = scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(failed["state"], "failed", "{failed:#}");
    assert_eq!(scene.auction.digest().await, damaged, "{failed:#}");
    database::run(session, "DROP VIEW later").await;

    // One bit of the stored save turned over.
    let key: String =
        scene.app.value("SELECT key FROM save_objects WHERE part = 'dump.0001' AND state = 'stored'").await;
    let path = scene.app.store().join(key);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let job = scene.restore(json!({ "safety": false })).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "object_corrupt", "{failed:#}");
    assert_eq!(scene.auction.digest().await, scene.damaged);
    // The save is damaged on purpose: what `holds` would find is what this test did.
    clean(scene, poor).await;
}
