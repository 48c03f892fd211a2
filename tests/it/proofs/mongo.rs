//! The same of MongoDB: archives read to their end, and drills in databases of their own.

use mongodb::bson::{Document, doc};
use reqwest::Method;
use serde_json::json;
use support::{App, Process, WorkerSpec, stack, until};

use super::{ask, drilling, events, shown, verify};
use crate::mongo::scene::Shop;

/// Databases of drills of this job.
pub(super) async fn databases_of(job: &str) -> Vec<String> {
    let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
    let names = client.list_database_names().await.unwrap();
    names.into_iter().filter(|name| name.starts_with("hf_drill_") && name.ends_with(&job.replace('-', ""))).collect()
}

async fn saved() -> (App, Shop, Process, String) {
    let mut app = App::spawn().await;
    let shop = Shop::open().await;
    shop.fill().await;
    let worker = app.worker_with(&drilling("one")).await;
    let target = app.target_with(&shop.spec()).await;
    let save = app.saved(&target).await;
    (app, shop, worker, save)
}

#[tokio::test]
async fn an_archive_is_decoded_and_drilled() {
    let (app, shop, _worker, save) = saved().await;
    let decoded = verify(&app, &save, "decode").await;
    assert_eq!(
        (&decoded["verified"], &decoded["decoded"]["compared"]["by"]),
        (&json!(true), &json!("digest")),
        "{decoded:#}"
    );
    assert_eq!(decoded["decoded"]["compared"]["rows"], 2503, "{decoded:#}");
    let before = shop.contents().await;
    let job = ask(&app, &save, "restore").await;
    let drilled = app.client.job_is(&job, "succeeded").await["result"].clone();
    let restored = &drilled["restored"];
    assert_eq!((&drilled["verified"], &restored["scratch"]), (&json!(true), &json!("docs")), "{drilled:#}");
    assert_eq!((&restored["compared"]["documents"], &restored["compared"]["collections"]), (&json!(2503), &json!(4)));
    assert!(restored["compared"]["indexes"].as_i64().unwrap() >= 3, "{drilled:#}");
    assert_eq!(databases_of(&job).await, Vec::<String>::new());
    assert_eq!(shop.contents().await, before, "the source was touched");
    assert_eq!(shown(&app, &save).await["verified_depth"], "restore");
    app.holds().await;
}

#[tokio::test]
async fn a_save_with_a_time_series_is_decoded_and_drilled() {
    let mut app = App::spawn().await;
    let shop = Shop::open().await;
    crate::mongo::series::fill(&shop).await;
    let _worker = app.worker_with(&drilling("one")).await;
    let target = app.target_with(&shop.spec()).await;
    let save = app.saved(&target).await;
    let decoded = verify(&app, &save, "decode").await;
    assert_eq!(decoded["decoded"]["compared"]["rows"], 1547, "{decoded:#}");
    let job = ask(&app, &save, "restore").await;
    let drilled = app.client.job_is(&job, "succeeded").await["result"].clone();
    let compared = &drilled["restored"]["compared"];
    assert_eq!((&drilled["verified"], &compared["documents"]), (&json!(true), &json!(1547)), "{drilled:#}");
    assert_eq!(databases_of(&job).await, Vec::<String>::new());
    app.holds().await;
}

#[tokio::test]
async fn what_was_counted_and_is_not_there_is_found() {
    let (app, _shop, _worker, save) = saved().await;
    app.execute(
        "UPDATE saves SET manifest = jsonb_set(manifest, '{inventory,entries,2,digest}', to_jsonb(repeat('0', 32)))",
    )
    .await;
    let found = verify(&app, &save, "decode").await;
    assert_eq!((&found["verified"], &found["unusable"]["depth"]), (&json!(false), &json!("decode")), "{found:#}");
    assert!(found["unusable"]["reason"].as_str().unwrap().contains("with other contents"), "{found:#}");
    assert_eq!(shown(&app, &save).await["valid"], false);
    app.holds().await;
}

/// An archive of mongodump's with one thing changed: its unique index is of a field that no document has. Every length and every
/// checksum is right, and nowhere can that index be built.
fn with_an_index_that_cannot_be() -> Vec<u8> {
    let fixture = stack::root().join("worker/src/engine/mongodb/archive/fixtures/auction.archive");
    let mut archive = std::fs::read(fixture).unwrap();
    let (found, wanted) = (br#""key":{"public_id":"#, br#""key":{"not_there":"#);
    let at = archive.windows(found.len()).position(|window| window == found).unwrap();
    archive[at..at + found.len()].copy_from_slice(wanted);
    archive
}

#[tokio::test]
async fn what_no_server_takes_is_found_by_the_drill_alone() {
    let mut app = App::spawn().await;
    let shop = Shop::open().await;
    let _worker = app.worker_with(&drilling("one")).await;
    let target = app.target_with(&shop.spec()).await;
    let path = format!("/v1/targets/{target}/import");
    let import = app.client.request(Method::POST, &path).body(with_an_index_that_cannot_be());
    let brought = app.client.send(import).await.expect(201);
    let save = brought["save"]["id"].as_str().unwrap();
    for depth in ["hash", "decode"] {
        let found = verify(&app, save, depth).await;
        assert_eq!(found["verified"], true, "{found:#}");
    }
    assert_eq!(shown(&app, save).await["valid"], true);

    let body = json!({ "depth": "restore", "repair": false, "trust": true });
    let job = app.client.post(&format!("/v1/saves/{save}/verify"), body).await.id();
    let found = app.client.job_is(&job, "succeeded").await["result"].clone();
    assert_eq!((&found["verified"], &found["unusable"]["depth"]), (&json!(false), &json!("restore")), "{found:#}");
    let reason = found["unusable"]["reason"].as_str().unwrap();
    assert!(reason.contains("the indexes of collection \"items\""), "{reason}");
    assert_eq!(found["decoded"]["compared"]["by"], "digest", "{found:#}");
    let after = shown(&app, save).await;
    assert_eq!((&after["valid"], &after["verified_depth"]), (&json!(false), &json!("decode")), "{after:#}");
    assert_eq!((&after["unusable_reason"], &after["verifications"][0]["passed"]), (&json!(reason), &json!(false)));
    assert_eq!(events(&app).await, ["save.verified hash", "save.verified decode", "save.corrupt restore"]);
    assert_eq!(databases_of(&job).await, Vec::<String>::new());

    // Nor is it restored, unless somebody insists, who then hears the same.
    let copy = Shop::named(&stack::fresh("copy")).await;
    let mut body = json!({ "into": { "database": copy.name }, "trust": true });
    let path = format!("/v1/saves/{save}/restore");
    let refused = app.client.post(&path, body.clone()).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/allow_invalid", "{refused:#}");
    body["allow_invalid"] = true.into();
    let job = app.client.post(&path, body).await.id();
    let failed = app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "duplicate_keys", "{failed:#}");
    assert!(copy.contents().await.is_empty());
    app.holds().await;
}

#[tokio::test]
async fn a_drill_that_dies_leaves_what_the_next_one_takes_away_and_nothing_else() {
    let (app, shop, mut first, save) = saved().await;
    first.stop().await;
    // Called as ours are, and not ours.
    let installation: String = app.value("SELECT replace(id::text, '-', '') FROM installation").await;
    let other = Shop::named(&format!("hf_drill_{}_{}", &installation[20..], "0".repeat(32))).await;
    other.database.collection::<Document>("theirs").insert_one(doc! { "_id": 1 }).await.unwrap();
    let envs = vec![("HOLDFAST_FAILPOINT".to_owned(), "mongo.staged=kill".to_owned())];
    let mut dying = app.worker_with(&WorkerSpec { envs, lease_s: 3.0, beat_s: 0.6, ..drilling("dies") }).await;
    let job = ask(&app, &save, "restore").await;
    crate::chaos::bench::killed(&mut dying, "mongo.staged").await;
    assert_eq!(databases_of(&job).await.len(), 1, "nothing was left to take away");
    // Nobody will come back to it.
    app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
    let _next = app.worker_with(&drilling("two")).await;
    app.client.job_is(&job, "cancelled").await;
    let drilled = verify(&app, &save, "restore").await;
    assert_eq!(drilled["verified"], true, "{drilled:#}");
    until("what was left is gone", || async { databases_of(&job).await.is_empty().then_some(()) }).await;
    assert_eq!(other.contents().await.len(), 1, "somebody else's database was touched");
    drop(shop);
    app.holds().await;
}
