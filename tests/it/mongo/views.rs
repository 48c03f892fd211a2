//! Views, on the stack's imitation of them (ADR 37): they are nothing but definitions, and may have a name that a collection had.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use mongodb::{
    Database,
    bson::{Document, doc},
};
use serde_json::{Value, json};
use support::{App, stack};

use super::{
    decoded,
    scene::{self, Shop},
};
use crate::chaos::bench::{for_each, handed_on};

/// By name: what it is, its options, and what is read from it.
type Contents = BTreeMap<String, (String, Document, Vec<Document>)>;

async fn contents(database: &Database) -> Contents {
    let listed = database.run_cursor_command(doc! { "listCollections": 1 }).await.unwrap();
    let listed: Vec<Document> = listed.try_collect().await.unwrap();
    let mut all = Contents::new();
    for one in listed.into_iter().filter(|one| !one.get_str("name").unwrap().starts_with("__hf_")) {
        let name = one.get_str("name").unwrap().to_owned();
        let found = database.collection::<Document>(&name).find(doc! {}).await.unwrap();
        let found = found.try_collect().await.unwrap();
        let kind = one.get_str("type").unwrap().to_owned();
        all.insert(name, (kind, one.get_document("options").unwrap().clone(), found));
    }
    all
}

async fn view(database: &Database, name: &str, on: &str, pipeline: Vec<Document>) {
    database.run_command(doc! { "create": name, "viewOn": on, "pipeline": pipeline }).await.unwrap();
}

async fn drop_one(database: &Database, name: &str) {
    database.run_command(doc! { "drop": name }).await.unwrap();
}

async fn write(database: &Database, name: &str, count: i32) {
    let documents = (0..count).map(|n| doc! { "_id": n, "price": n * 7 % 10, "in": name });
    database.collection::<Document>(name).insert_many(documents).await.unwrap();
}

struct Scene {
    app: App,
    shop: Shop,
    save: String,
    saved: Contents,
    damaged: Contents,
}

impl Scene {
    /// Two collections and two views, one on the other. Then every kind of name becomes something else.
    async fn set() -> Self {
        let mut app = App::spawn().await;
        let shop = Shop::open().await;
        let database = &shop.database;
        write(database, "lots", 30).await;
        write(database, "bids", 9).await;
        // The order of the keys says by what is sorted first.
        let cheap = vec![doc! { "$match": { "price": { "$lt": 5 } } }, doc! { "$sort": { "price": 1, "_id": -1 } }];
        view(database, "cheap", "lots", cheap).await;
        view(database, "cheapest", "cheap", vec![doc! { "$limit": 3 }]).await;
        let target = app.target_with(&shop.spec()).await;
        let saved = contents(database).await;
        let mut worker = app.worker("saver").await;
        let save = app.saved(&target).await;
        worker.stop().await;
        let archive = decoded(&app, &save).await;
        let names: Vec<&String> = archive["namespaces"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["bids", "cheap", "cheapest", "lots"], "{archive:#}");

        for name in ["cheap", "cheapest", "bids"] {
            drop_one(database, name).await;
        }
        database.collection::<Document>("lots").delete_many(doc! { "_id": { "$gte": 5 } }).await.unwrap();
        write(database, "cheap", 2).await;
        view(database, "cheapest", "lots", vec![doc! { "$limit": 1 }]).await;
        view(database, "bids", "lots", Vec::new()).await;
        view(database, "later", "cheap", Vec::new()).await;
        let damaged = contents(database).await;
        Self { app, shop, save, saved, damaged }
    }

    async fn restore(&self, more: Value) -> String {
        scene::in_place(&self.app, &self.shop, &self.save, &[json!({ "safety": false }), more]).await
    }

    async fn undo(&self, job: &str) {
        let undo = scene::undo(&self.app, &self.shop, job).await;
        self.app.client.job_is(&undo, "succeeded").await;
        assert_eq!(contents(&self.shop.database).await, self.damaged);
    }
}

#[tokio::test]
async fn views_come_out_in_a_new_database_as_they_were() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    let copy = Shop::named(&stack::fresh("copy")).await;
    let body = json!({ "into": { "database": copy.name } });
    let job = scene.app.client.post(&format!("/v1/saves/{}/restore", scene.save), body).await.id();
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(contents(&copy.database).await, scene.saved);
    assert_eq!(done["result"]["views"], json!(["cheap", "cheapest"]), "{done:#}");
    assert_eq!(contents(&scene.shop.database).await, scene.damaged);
    scene.app.holds().await;
}

#[tokio::test]
async fn some_of_them_are_put_back_alone() {
    let scene = Scene::set().await;
    let _worker = scene.app.worker("one").await;
    // A view where a collection is now, which is put aside; and a collection where a view is.
    let job = scene.restore(json!({ "collections": ["cheap", "bids"] })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    let now = contents(&scene.shop.database).await;
    assert_eq!(now["bids"], scene.saved["bids"], "{done:#}");
    assert_eq!((&now["cheap"].0, &now["cheap"].1), (&scene.saved["cheap"].0, &scene.saved["cheap"].1), "{done:#}");
    for name in ["cheapest", "lots"] {
        assert_eq!(now[name], scene.damaged[name], "{name}");
    }
    scene.undo(&job).await;
    scene.app.holds().await;
}

/// The point, and whether the next worker brings the job to its end. Three renames: two collections make way, one of which
/// comes in again, as does one in the place of a view.
const POINTS: &[(&str, bool)] = &[
    ("mongo.staged=kill", false),
    ("journal.commit.after=kill", true),
    ("mongo.rename.after=kill", true),
    ("mongo.rename.after=kill:2", true),
    ("mongo.rename.before=kill:3", true),
    ("mongo.views.before=kill", true),
    ("mongo.views.after=kill", true),
];

#[tokio::test]
async fn whoever_dies_on_the_way_is_followed_by_one_that_ends_it() {
    for_each(POINTS, |(point, resolved)| async move {
        let scene = Scene::set().await;
        let job = scene.restore(json!({})).await;
        let _second = handed_on(&scene.app, &job, point, *resolved).await;
        let ended = scene.app.client.job_is(&job, "succeeded").await;
        assert_eq!(contents(&scene.shop.database).await, scene.saved, "{point}: {ended:#}");
        assert_eq!(ended["result"]["resolved"] == true, *resolved, "{point}: {ended:#}");
        scene.undo(&job).await;
        scene.app.holds().await;
        scene
    })
    .await;
}
