//! The `MongoDB` engine through the real doors: HTTP in, a worker process, the stack's MongoDB-wire server. What is written is
//! judged by an independent reader (tests/tools/archive.py).
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod crash;
mod drift;
mod dump;
mod in_place;
mod known;
mod parts;
mod refused;
mod restore;
pub(crate) mod scene;
pub(crate) mod series;
mod source;
pub(crate) mod tools;
mod views;

use serde_json::Value;
use source::Source;
use support::{App, TargetSpec, stack};

/// A target of the stack's server, which knows neither users nor TLS.
fn spec(source: &Source) -> TargetSpec {
    spec_at(source, reqwest::Url::parse(&stack::setting("MONGO_URL")).unwrap().port().unwrap())
}

fn spec_at(source: &Source, port: u16) -> TargetSpec {
    TargetSpec {
        host: "127.0.0.1".to_owned(),
        port,
        tls_mode: "disable".to_owned(),
        tls_ca: None,
        server: serde_json::json!({ "engine": "mongodb", "auth": "none" }),
        ..TargetSpec::of(&source.name)
    }
}

/// What the independent reader finds in the save's archive in store `disk`.
async fn decoded(app: &App, save: &str) -> Value {
    let key: String = app
        .value(&format!(
            "SELECT key FROM save_objects WHERE save_id = '{save}' AND part = 'dump.0001' AND state = 'stored' AND store = 'disk'"
        ))
        .await;
    let archive = app.store().join(&key);
    let script = stack::root().join("tests/tools/archive.py");
    let python = stack::setting("MONGO_PYTHON");
    let envs = [("HOLDFAST_DEV_MONGO_PYTHON", python.as_str()), ("PATH", "/usr/bin:/bin:/usr/local/bin")];
    let said = stack::run(&script, &[archive.to_str().unwrap()], &envs);
    serde_json::from_str(&said).unwrap()
}

/// The save's manifest.
async fn manifest(app: &App, save: &str) -> Value {
    app.client.get(&format!("/v1/saves/{save}")).await.expect(200)["manifest"].clone()
}

/// Every collection of the source is in the save, to the byte; its inventory says the same.
async fn holds_all(app: &App, save: &str, source: &Source) -> Value {
    let archive = decoded(app, save).await;
    let inventory = manifest(app, save).await["inventory"].clone();
    let names = source.collections().await;
    assert_eq!(archive["namespaces"].as_object().unwrap().keys().cloned().collect::<Vec<_>>(), names);
    for name in names {
        let documents = source.digests(&name).await;
        let found = &archive["namespaces"][&name];
        assert_eq!(found["documents"], documents.len(), "{name}");
        assert_eq!(found["sha256_of_sorted_doc_sha256"], Source::digest(documents), "{name}");
        let entry = inventory["entries"].as_array().unwrap().iter().find(|entry| entry["name"] == name).unwrap();
        assert_eq!((&entry["rows"], &entry["bytes"]), (&found["documents"], &found["bytes"]), "{name}");
        assert_eq!(entry["kind"], "collection");
    }
    archive
}
