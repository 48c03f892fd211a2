//! What a dump holds.

use mongodb::bson::doc;
use serde_json::json;
use support::App;

use super::{Source, decoded, holds_all, manifest, source::raw, spec};

#[tokio::test]
async fn a_whole_database_is_in_its_archive() {
    let mut app = App::spawn().await;
    let source = Source::shop().await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&spec(&source)).await;
    let save = app.saved(&target).await;

    let archive = holds_all(&app, &save, &source).await;
    let collections = source.collections().await.len();
    assert_eq!(archive["header"]["concurrent_collections"], 4, "{collections} collections");
    // Which options a server lists is its own affair; that they survive is not.
    let indexes = archive["namespaces"]["items"]["metadata"]["indexes"].as_array().unwrap();
    assert_eq!(indexes.len(), 4, "{indexes:#?}");
    let unique = indexes.iter().find(|index| index["name"] == "items_public_id").unwrap();
    assert_eq!((&unique["unique"], &unique["key"]["public_id"]), (&json!(true), &json!({ "$numberInt": "1" })));
    let text = archive["namespaces"]["items"]["metadata_text"].as_str().unwrap();
    assert!(text.contains(r#""key":{"price":{"$numberInt":"-1"},"_id":{"$numberInt":"1"}}"#), "{text}");
    assert_eq!(archive["namespaces"]["empty"]["documents"], 0);

    let manifest = manifest(&app, &save).await;
    assert_eq!((&manifest["engine"], &manifest["consistency"]), (&json!("mongodb"), &json!("none")), "{manifest:#}");
    assert_eq!((&manifest["tool"], &manifest["scope"]), (&json!("holdfast"), &json!("full")));
    assert_eq!(manifest["objects"].as_array().unwrap().len(), 1, "no globals: {manifest:#}");
    app.holds().await;
    source.drop().await;
}

#[tokio::test]
async fn documents_of_sixteen_megabytes_are_dumped() {
    let mut app = App::spawn().await;
    let source = Source::empty().await;
    for n in 0..3_i32 {
        let text = "y".repeat(16 * 1024 * 1024 - 64);
        source.collection("huge").insert_many(raw(vec![doc! { "_id": n, "t": text }])).await.unwrap();
    }
    source.add_large("small", 5, 1000).await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&spec(&source)).await;
    let save = app.saved(&target).await;
    let inventory = manifest(&app, &save).await["inventory"].clone();
    let huge = inventory["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == "huge").unwrap().clone();
    assert_eq!(huge["rows"], 3, "{inventory:#}");
    assert!(huge["bytes"].as_u64().unwrap() > 48 * 1024 * 1024 - 1024, "{inventory:#}");
    app.holds().await;
    source.drop().await;
}

#[tokio::test]
async fn of_a_database_only_some_collections() {
    let mut app = App::spawn().await;
    let source = Source::shop().await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&spec(&source)).await;
    let backups = format!("/v1/targets/{target}/backups");
    for (body, expected) in [
        (json!({ "collections": ["Unicode-ключ", "empty"] }), vec!["Unicode-ключ", "empty"]),
        (
            json!({ "exclude_collections": ["big", "bigger", "items", "empty"] }),
            vec!["-dash and space", "Unicode-ключ", "dots.in.name"],
        ),
    ] {
        let job = app.client.post(&backups, body).await.id();
        let job = app.client.job_is(&job, "succeeded").await;
        let save = job["save_id"].as_str().unwrap();
        let archive = decoded(&app, save).await;
        let names: Vec<&str> = archive["namespaces"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, expected);
        assert_eq!(manifest(&app, save).await["scope"], "partial");
    }
    app.holds().await;
    source.drop().await;
}

#[tokio::test]
async fn a_probe_says_what_is_there() {
    let mut app = App::spawn().await;
    let source = Source::shop().await;
    let _worker = app.worker("one").await;
    let target = app.target_with(&spec(&source)).await;
    let job = app.client.post(&format!("/v1/targets/{target}/probe"), json!({})).await.id();
    let result = app.client.job_is(&job, "succeeded").await["result"].clone();
    assert_eq!(result["probe"]["server_version"], "5.0.0", "{result:#}");
    assert_eq!(result["probe"]["table_count"], source.collections().await.len(), "{result:#}");
    assert_eq!(result["client"]["name"], "holdfast", "{result:#}");
    let warnings = result["probe"]["warnings"].to_string();
    assert!(warnings.contains("not of one moment") && warnings.contains("not encrypted"), "{warnings}");
    source.drop().await;
}
