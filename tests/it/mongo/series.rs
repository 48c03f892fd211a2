//! Time series, on the stack's imitation of them (ADR 37): saved as buckets, and restored under their own names, as MongoDB
//! renames none.

use futures_util::TryStreamExt as _;
use mongodb::{
    Database,
    bson::{Bson, DateTime, Document, doc},
};
use serde_json::{Value, json};
use support::{App, stack, until};

use super::{
    decoded,
    scene::{self, Contents, Shop},
};
use crate::chaos::bench::{for_each, frozen, handed_on, killed, spec};

/// An application with a time series, saved once.
struct Scene {
    app: App,
    shop: Shop,
    save: String,
    saved: Contents,
}

impl Scene {
    async fn set() -> Self {
        let mut app = App::spawn().await;
        let shop = Shop::open().await;
        fill(&shop).await;
        let target = app.target_with(&shop.spec()).await;
        let saved = shop.contents().await;
        let mut worker = app.worker("saver").await;
        let save = app.saved(&target).await;
        worker.stop().await;
        Self { app, shop, save, saved }
    }

    async fn restore(&self, body: Value) -> String {
        self.app.client.post(&format!("/v1/saves/{}/restore", self.save), body).await.id()
    }

    async fn in_place(&self, more: Value) -> String {
        scene::in_place(&self.app, &self.shop, &self.save, &[json!({ "safety": false }), more]).await
    }

    async fn damage(&self) -> Contents {
        self.lots().delete_many(doc! { "_id": { "$gte": 10 } }).await.unwrap();
        self.shop.contents().await
    }

    fn lots(&self) -> mongodb::Collection<Document> {
        self.shop.database.collection("lots")
    }

    async fn drop_series(&self) {
        self.shop.database.run_command(doc! { "drop": "readings" }).await.unwrap();
    }
}

/// Two ordinary collections, and a time series with an index of its own and buckets of which two hold values of mixed types.
pub(crate) async fn fill(shop: &Shop) {
    for (name, count) in [("lots", 40), ("bids", 7)] {
        let documents = (0..count).map(|n| doc! { "_id": n, "name": name });
        shop.database.collection::<Document>(name).insert_many(documents).await.unwrap();
    }
    let options = doc! { "timeField": "at", "metaField": "sensor", "granularity": "minutes" };
    let create = doc! { "create": "readings", "timeseries": options, "expireAfterSeconds": 86_400_i64 };
    let index = doc! { "key": { "sensor": 1, "at": -1 }, "name": "by_sensor" };
    for command in [
        create,
        doc! { "createIndexes": "readings", "indexes": [index] },
        doc! { "collMod": "readings", "timeseriesBucketsMayHaveMixedSchemaData": true },
    ] {
        shop.database.run_command(command).await.unwrap();
    }
    let buckets = (0..1500).map(|n| {
        let at = DateTime::from_millis(i64::from(n) * 60_000);
        let most = if n % 700 == 600 {
            doc! { "at": at, "v": "high" }
        } else {
            doc! { "at": at, "v": n + 1 }
        };
        doc! { "_id": format!("{n:024x}"), "control": { "version": 1, "min": { "at": at, "v": n }, "max": most },
        "meta": n % 5, "data": { "at": { "0": at, "1": at }, "v": { "0": n, "1": n + 1 } } }
    });
    shop.database.collection::<Document>("system.buckets.readings").insert_many(buckets).await.unwrap();
}

/// What the server lists under a name; None: nothing.
async fn entry(database: &Database, name: &str) -> Option<Document> {
    let all = database.run_cursor_command(doc! { "listCollections": 1 }).await.unwrap();
    let all: Vec<Document> = all.try_collect().await.unwrap();
    all.into_iter().find(|one| one.get_str("name").unwrap() == name)
}

/// How it lists the series.
async fn listed(database: &Database) -> Option<Document> {
    entry(database, "readings").await.filter(|one| one.get_str("type").unwrap() == "timeseries")
}

#[tokio::test]
async fn a_time_series_comes_out_in_a_new_database_as_it_was() {
    let scene = Scene::set().await;
    let archive = decoded(&scene.app, &scene.save).await;
    assert_eq!(archive["namespaces"]["readings"]["documents"], 1500, "{archive:#}");
    let _worker = scene.app.worker("one").await;
    let copy = Shop::named(&stack::fresh("copy")).await;
    let job = scene.restore(json!({ "into": { "database": copy.name } })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(copy.contents().await, scene.saved, "{done:#}");
    assert_eq!(listed(&copy.database).await, listed(&scene.shop.database).await);
    assert_eq!(copy.asides().await, Vec::<String>::new());
    let result = &done["result"];
    assert_eq!(result["warnings"], json!([]), "{result:#}");
    let readings = result["collections"].as_array().unwrap().iter().find(|one| one["name"] == "readings").unwrap();
    assert_eq!((&readings["kind"], &readings["documents"]), (&json!("timeseries"), &json!(1500)), "{result:#}");
    scene.app.holds().await;
}

#[tokio::test]
async fn one_that_stands_makes_no_way_and_is_nobodys_hindrance() {
    let scene = Scene::set().await;
    let damaged = scene.damage().await;
    let _worker = scene.app.worker("one").await;
    // All of the database, or the series by its name: refused, and a dry run says so before.
    for more in [json!({}), json!({ "collections": ["readings", "lots"] })] {
        let mut dry = more.clone();
        dry["dry_run"] = true.into();
        let job = scene.in_place(dry).await;
        let told = scene.app.client.job_is(&job, "succeeded").await["result"].clone();
        let problems = told["problems"].as_array().unwrap();
        assert_eq!((problems.len(), &problems[0]["code"]), (1, &json!("collection_unsupported")), "{told:#}");
        let job = scene.in_place(more).await;
        let failed = scene.app.client.job_is(&job, "failed").await;
        assert_eq!(failed["error"]["code"], "collection_unsupported", "{failed:#}");
        assert_eq!(scene.shop.contents().await, damaged);
    }
    // Other collections are put back beside it.
    let job = scene.in_place(json!({ "collections": ["lots"] })).await;
    scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!(scene.shop.contents().await, scene.saved);
    let undo = scene::undo(&scene.app, &scene.shop, &job).await;
    scene.app.client.job_is(&undo, "succeeded").await;
    assert_eq!(scene.shop.contents().await, damaged);
    assert!(listed(&scene.shop.database).await.is_some());
    scene.app.holds().await;
}

#[tokio::test]
async fn one_that_was_dropped_is_put_back_and_an_undo_leaves_it() {
    let scene = Scene::set().await;
    let was = listed(&scene.shop.database).await;
    let _worker = scene.app.worker("one").await;
    // Something else has its name: neither is touched.
    scene.drop_series().await;
    let wrong = scene.shop.database.collection::<Document>("readings");
    wrong.insert_one(doc! { "_id": "made by an application" }).await.unwrap();
    let had = scene.shop.contents().await;
    for more in [json!({ "collections": ["readings"] }), json!({})] {
        let job = scene.in_place(more).await;
        let failed = scene.app.client.job_is(&job, "failed").await;
        assert_eq!(failed["error"]["code"], "collection_unsupported", "{failed:#}");
        assert_eq!(scene.shop.contents().await, had);
        assert_eq!(scene.shop.asides().await, Vec::<String>::new());
    }
    wrong.drop().await.unwrap();
    // By its name.
    let job = scene.in_place(json!({ "collections": ["readings"] })).await;
    let done = scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!((&done["result"]["kept"], listed(&scene.shop.database).await), (&json!(null), was.clone()), "{done:#}");
    assert_eq!(scene.shop.contents().await, scene.saved);
    // With all of the database.
    scene.drop_series().await;
    let damaged = scene.damage().await;
    let job = scene.in_place(json!({})).await;
    scene.app.client.job_is(&job, "succeeded").await;
    assert_eq!((scene.shop.contents().await, listed(&scene.shop.database).await), (scene.saved.clone(), was));
    let undo = scene::undo(&scene.app, &scene.shop, &job).await;
    let undone = scene.app.client.job_is(&undo, "succeeded").await;
    let mut expected = damaged;
    for name in ["readings", "system.buckets.readings"] {
        expected.insert(name.to_owned(), scene.saved[name].clone());
    }
    assert_eq!(scene.shop.contents().await, expected);
    assert!(undone["result"]["warnings"][0].as_str().unwrap().contains("\"readings\" stays"), "{undone:#}");
    scene.app.holds().await;
}

/// The point, and whether the next worker brings the job to its end instead of working through it once more. Two renames, then
/// the marker goes.
const POINTS: &[(&str, bool)] = &[
    ("mongo.series.marked=kill", false),
    ("mongo.series.made=kill", false),
    ("mongo.staged=kill", false),
    ("journal.commit.before=kill", false),
    ("journal.commit.after=kill", true),
    ("mongo.rename.after=kill:2", true),
    ("mongo.rename.before=kill:3", true),
    ("mongo.rename.after=kill:3", true),
    ("finish.commit.before=kill", true),
];

#[tokio::test]
async fn whoever_dies_on_the_way_is_followed_by_one_that_ends_it() {
    for_each(POINTS, |(point, resolved)| async move {
        let scene = Scene::set().await;
        let copy = Shop::named(&stack::fresh("copy")).await;
        let job = scene.restore(json!({ "into": { "database": copy.name } })).await;
        let _second = handed_on(&scene.app, &job, point, *resolved).await;
        let ended = scene.app.client.job_is(&job, "succeeded").await;
        assert_eq!(copy.contents().await, scene.saved, "{point}: {ended:#}");
        assert_eq!(ended["result"]["resolved"] == true, *resolved, "{point}: {ended:#}");
        assert_eq!(listed(&copy.database).await, listed(&scene.shop.database).await, "{point}");
        assert_eq!(copy.asides().await, Vec::<String>::new(), "{point}");
        scene.app.holds().await;
        (scene, copy)
    })
    .await;
}

#[tokio::test]
async fn what_an_ended_job_left_goes_and_what_one_restored_stays() {
    let scene = Scene::set().await;
    let left = Shop::named(&stack::fresh("left")).await;
    let job = scene.restore(json!({ "into": { "database": left.name } })).await;
    let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", "mongo.staged=kill"));
    killed(&mut first, "mongo.staged").await;
    assert!(listed(&left.database).await.is_some());
    scene.app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;

    let copy = Shop::named(&stack::fresh("copy")).await;
    let job = scene.restore(json!({ "into": { "database": copy.name } })).await;
    scene.app.client.job_is(&job, "succeeded").await;
    until("the next restore on the server has taken it away", || async { left.names().await.is_empty().then_some(()) })
        .await;
    // A server that has lost its last word: the marker is back. What it means is the database's own all the same.
    let buckets = entry(&copy.database, "system.buckets.readings").await.unwrap();
    let Some(Bson::Binary(uuid)) = buckets.get_document("info").unwrap().get("uuid") else { panic!("{buckets}") };
    let uuid = format!("{:032x}", u128::from_be_bytes(uuid.bytes.as_slice().try_into().unwrap()));
    let marker = format!("__hf_ts_{}_1_2", job.replace('-', ""));
    let mark = doc! { "_id": 1, "series": "readings", "made": true, "uuid": uuid };
    copy.database.collection::<Document>(&marker).insert_one(mark).await.unwrap();
    let elsewhere = Shop::named(&stack::fresh("elsewhere")).await;
    let job = scene.restore(json!({ "into": { "database": elsewhere.name } })).await;
    scene.app.client.job_is(&job, "succeeded").await;
    until("the marker is gone", || async { copy.asides().await.is_empty().then_some(()) }).await;
    assert_eq!(copy.contents().await, scene.saved);
    scene.app.holds().await;
}

#[tokio::test]
async fn one_that_somebody_makes_meanwhile_stays_his() {
    let scene = Scene::set().await;
    let copy = Shop::named(&stack::fresh("copy")).await;
    let job = scene.restore(json!({ "into": { "database": copy.name } })).await;
    let mut worker = scene.app.worker_starting(&spec(&scene.app, "a", "default", "mongo.series.marked=freeze"));
    frozen(&scene.app, &mut worker, "mongo.series.marked").await;
    let create = doc! { "create": "readings", "timeseries": { "timeField": "when" } };
    copy.database.run_command(create).await.unwrap();
    let theirs = listed(&copy.database).await;
    worker.thaw();
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    let failed = scene.app.client.job_is(&job, "failed").await;
    let code = failed["error"]["code"].as_str().unwrap();
    // Whoever of the two comes to it.
    assert!(["collection_unsupported", "database_exists"].contains(&code), "{failed:#}");
    assert_eq!((listed(&copy.database).await, copy.asides().await), (theirs, Vec::new()));
    scene.app.holds().await;
}

/// A save that is made while another is filled has nothing of what is not whole.
#[tokio::test]
async fn a_dump_leaves_out_what_is_being_filled() {
    let mut scene = Scene::set().await;
    scene.drop_series().await;
    let job = scene.in_place(json!({ "collections": ["readings"] })).await;
    let mut worker = scene.app.worker_starting(&spec(&scene.app, "a", "default", "mongo.staged=kill"));
    killed(&mut worker, "mongo.staged").await;
    assert!(listed(&scene.shop.database).await.is_some());
    scene.app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    let target = scene.app.target_with(&scene.shop.spec()).await;
    let _second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
    scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    let save = scene.app.saved(&target).await;
    let archive = decoded(&scene.app, &save).await;
    let names: Vec<&String> = archive["namespaces"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["bids", "lots"], "{archive:#}");
}
