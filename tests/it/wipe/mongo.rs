//! Of a MongoDB database: one collection after another, and what was begun is brought to its end.

use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use support::App;

use crate::{
    chaos::bench::{for_each, frozen, handed_on, killed, spec},
    mongo::scene::{Contents, Shop},
};

struct Scene {
    app: App,
    shop: Shop,
    target: String,
    before: Contents,
}

impl Scene {
    async fn set() -> Self {
        let mut app = App::spawn().await;
        let shop = Shop::open().await;
        shop.fill().await;
        let changelog = shop.database.collection::<Document>("changelog");
        changelog.insert_one(doc! { "_id": 1, "fileName": "1-first.js" }).await.unwrap();
        let target = app.target_with(&shop.spec()).await;
        let before = shop.contents().await;
        Self { app, shop, target, before }
    }

    async fn wipe(&self, more: Value) -> String {
        let mut body = json!({ "confirm": self.shop.name });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.app.client.post(&format!("/v1/targets/{}/wipe", self.target), body).await.id()
    }

    /// Every collection is there with its indexes, and but for what is kept without a document.
    async fn is_empty(&self) {
        let now = self.shop.contents().await;
        for (name, content) in &self.before {
            assert_eq!(now[name].indexes, content.indexes, "{name}");
            let kept = if name == "changelog" { content.documents.clone() } else { Vec::new() };
            assert_eq!(now[name].documents, kept, "{name}");
        }
        assert_eq!(now.len(), self.before.len());
    }
}

#[tokio::test]
async fn documents_go_and_collections_stay_and_the_safety_save_puts_all_back() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let dry = scene.wipe(json!({ "dry_run": true })).await;
    let dry = scene.app.client.job_is(&dry, "succeeded").await;
    let names: Vec<&str> = dry["result"]["collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["collection"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["empty", "large", "lots", "Ключ.с точками"], "{dry:#}");
    assert_eq!((&dry["result"]["kept"], &dry["result"]["would_fail"]), (&json!(["changelog"]), &json!(false)));
    assert_eq!(scene.shop.contents().await, scene.before);

    let job = scene.wipe(json!({})).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    scene.is_empty().await;
    let result = &done["result"];
    assert_eq!((&result["atomic"], &result["warnings"]), (&json!(false), &json!([])), "{result:#}");
    let lots = result["collections"].as_array().unwrap().iter().find(|one| one["collection"] == "lots").unwrap();
    assert_eq!((&lots["documents"], &lots["way"]), (&json!(2500), &json!("deleted")), "{result:#}");
    let safety = done["save_id"].as_str().unwrap();
    assert_eq!(result["undo"]["save_id"], safety);
    let save = scene.app.client.get(&format!("/v1/saves/{safety}")).await.expect(200);
    assert!(save["state"] == "available" && save["verified_at"].is_string(), "{save:#}");

    let body = json!({ "into": {}, "confirm": scene.shop.name, "safety": false });
    let back = scene.app.client.post(&format!("/v1/saves/{safety}/restore"), body).await.id();
    scene.app.client.job_is(&back, "succeeded").await;
    assert_eq!(scene.shop.contents().await, scene.before);
    scene.app.holds().await;
}

/// Before its journal it is worked through once more; after it, brought to its end. Four collections, of three batches the
/// largest.
const POINTS: &[(&str, bool)] = &[
    ("journal.commit.before=kill", false),
    ("journal.commit.after=kill", true),
    ("wipe.batch.before=kill", true),
    ("wipe.batch.before=kill:4", true),
    ("wipe.batch.after=kill:4", true),
    ("wipe.batch.after=kill:6", true),
    ("finish.commit.before=kill", true),
];

#[tokio::test]
async fn a_worker_that_is_killed_anywhere_is_followed_by_one_that_ends_it() {
    for_each(POINTS, |(point, resolved)| async move {
        let scene = Scene::set().await;
        let job = scene.wipe(json!({ "safety_save": false })).await;
        let _second = handed_on(&scene.app, &job, point, *resolved).await;
        let ended = scene.app.client.job_is(&job, "succeeded").await;
        scene.is_empty().await;
        assert_eq!(ended["result"]["resolved"] == true, *resolved, "{point}: {ended:#}");
        let lots = ended["result"]["collections"].as_array().unwrap().iter().find(|one| one["collection"] == "lots");
        assert_eq!(lots.unwrap()["documents"], 2500, "{point}: {ended:#}");
        scene.app.holds().await;
        scene
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_freezes_deletes_nothing_when_it_thaws() {
    let scene = Scene::set().await;
    let job = scene.wipe(json!({ "safety_save": false })).await;
    let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", "wipe.batch.after=freeze:4"));
    frozen(&scene.app, &mut first, "wipe.batch.after").await;
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    let ended = scene.app.client.job_is(&job, "succeeded").await;
    scene.is_empty().await;
    let lots = scene.shop.database.collection::<Document>("lots");
    lots.insert_one(doc! { "_id": 2400, "since": true }).await.unwrap();
    first.thaw();
    assert!(first.stop().await.success(), "{}", first.tail());
    assert_eq!(lots.count_documents(doc! {}).await.unwrap(), 1);
    assert_eq!(scene.app.client.job(&job).await, ended);
    scene.app.holds().await;
}

/// The stack's server has no capped collections; so a journal that calls for one is put in the place of the
/// real one, of a collection like any other: what is made anew has its indexes.
#[tokio::test]
async fn a_collection_that_must_be_made_anew_is_whoever_died_on_the_way() {
    let scene = Scene::set().await;
    let job = scene.wipe(json!({ "safety_save": false })).await;
    let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", "journal.commit.after=kill"));
    killed(&mut first, "journal.commit.after").await;
    let indexes: Vec<Document> = scene.before["lots"]
        .indexes
        .values()
        .filter(|index| index.get_str("name").unwrap() != "_id_")
        .cloned()
        .collect();
    let packed = |document: Document| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(document.to_vec().unwrap())
    };
    let made = json!({ "options": packed(doc! {}), "indexes": packed(doc! { "indexes": indexes }) });
    scene
        .app
        .execute(&format!(
            "UPDATE jobs SET journal = jsonb_set(journal, '{{collections}}', (SELECT jsonb_agg(CASE WHEN one->>'name' = 'lots'
                 THEN one || jsonb_build_object('made', '{made}'::jsonb) ELSE one END ORDER BY n)
               FROM jsonb_array_elements(journal->'collections') WITH ORDINALITY AS t (one, n))) WHERE id = '{job}'"
        ))
        .await;
    let mut second = scene.app.worker_starting(&spec(&scene.app, "b", "default", "wipe.made.dropped=kill"));
    killed(&mut second, "wipe.made.dropped").await;
    assert!(!scene.shop.contents().await.contains_key("lots"));
    let _third = scene.app.worker_with(&spec(&scene.app, "c", "default", "")).await;
    scene.app.client.job_is(&job, "succeeded").await;
    scene.is_empty().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn an_empty_database_is_wiped_without_a_save() {
    let mut app = App::spawn().await;
    let shop = Shop::open().await;
    let target = app.target_with(&shop.spec()).await;
    let _worker = app.worker("one").await;
    let job = app.client.post(&format!("/v1/targets/{target}/wipe"), json!({ "confirm": shop.name })).await.id();
    let done = app.client.job_is(&job, "succeeded").await;
    assert_eq!(done["result"]["collection_count"], 0, "{done:#}");
    let code: String = app.value("SELECT error->>'code' FROM saves").await;
    assert_eq!(code, "nothing_to_save");
    app.holds().await;
}

#[tokio::test]
async fn a_time_series_is_made_anew_empty_and_its_save_puts_it_back_once_it_is_dropped() {
    let mut app = App::spawn().await;
    let shop = Shop::open().await;
    crate::mongo::series::fill(&shop).await;
    let target = app.target_with(&shop.spec()).await;
    let before = shop.contents().await;
    let path = format!("/v1/targets/{target}/wipe");
    let job = app.client.post(&path, json!({ "confirm": shop.name })).await.id();
    let mut first = app.worker_starting(&spec(&app, "a", "default", "wipe.made.dropped=kill"));
    killed(&mut first, "wipe.made.dropped").await;
    assert!(!shop.contents().await.contains_key("readings"));
    let _second = app.worker_with(&spec(&app, "b", "default", "")).await;
    let done = app.client.job_is(&job, "succeeded").await;
    let now = shop.contents().await;
    assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (name, content) in &before {
        assert_eq!((&now[name].indexes, now[name].documents.len()), (&content.indexes, 0), "{name}");
    }
    let safety = done["save_id"].as_str().unwrap();
    shop.database.run_command(doc! { "drop": "readings" }).await.unwrap();
    let body = json!({ "into": {}, "confirm": shop.name, "safety": false });
    let back = app.client.post(&format!("/v1/saves/{safety}/restore"), body).await.id();
    app.client.job_is(&back, "succeeded").await;
    assert_eq!(shop.contents().await, before);
    app.holds().await;
}
