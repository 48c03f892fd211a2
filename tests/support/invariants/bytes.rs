//! What lies in the stores, against the rows: every byte has a row that names it, and every byte of an available save is
//! the one that was stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use serde_json::Value;

use crate::{app::App, s3, stack};

/// One object of a good copy of an available save, as its row says.
struct Row {
    store: String,
    key: String,
    upload: String,
    part: String,
    bytes: usize,
    sha256: String,
    save: String,
}

pub(super) async fn check(app: &App, broken: &mut Vec<String>) {
    let sql = "SELECT jsonb_build_object('store', o.store, 'key', o.key, 'upload', o.upload_ref, 'part', o.part,
                   'bytes', o.stored_bytes, 'sha256', encode(o.sha256, 'hex'), 'save', o.save_id)
        FROM save_objects o JOIN save_copies c ON c.save_id = o.save_id AND c.store = o.store JOIN saves s ON s.id = o.save_id
        WHERE o.state = 'stored' AND c.state = 'good' AND s.state = 'available'";
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows: Vec<Row> = app
        .values::<Value>(sql)
        .await
        .iter()
        .map(|row| Row {
            store: text(row, "store"),
            key: text(row, "key"),
            upload: text(row, "upload"),
            part: text(row, "part"),
            bytes: usize::try_from(row["bytes"].as_u64().unwrap()).unwrap(),
            sha256: text(row, "sha256"),
            save: text(row, "save"),
        })
        .collect();
    files(app, &rows, broken).await;
    grid(app, &rows, broken).await;
    bucket(app, &rows, broken).await;
}

async fn files(app: &App, rows: &[Row], broken: &mut Vec<String>) {
    // Of what is deleted nothing may lie anywhere; it is no excuse for a file.
    let named: Vec<String> =
        app.values("SELECT unnest(ARRAY[key, '.tmp/' || upload_ref]) FROM save_objects WHERE store = 'disk' AND state <> 'deleted'").await;
    let named: BTreeSet<String> = named.into_iter().collect();
    let root = app.store();
    let mut found = BTreeSet::new();
    walk(&root, &root, &mut found);
    for file in &found {
        // The marker of the installation lies at the root; an upload that was cut off lies beside its key.
        if file.contains('/') && !named.iter().any(|key| file == key || file.starts_with(&format!("{key}."))) {
            broken.push(format!("no row names the object {file}"));
        }
    }
    for row in rows.iter().filter(|row| row.store == "disk") {
        match std::fs::read(root.join(&row.key)) {
            Err(error) => broken.push(format!("the object {} of an available save: {error}", row.key)),
            Ok(content) => verify(app, row, &content, broken).await,
        }
    }
}

fn walk(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            walk(root, &entry.path(), found);
        } else {
            found.insert(entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

async fn grid(app: &App, rows: &[Row], broken: &mut Vec<String>) {
    let named: Vec<String> = app
        .values("SELECT key || ' ' || upload_ref || ' ' || state FROM save_objects WHERE store = 'grid' AND state <> 'deleted'")
        .await;
    let used: i64 = app.value("SELECT count(*) FROM save_objects WHERE store = 'grid'").await;
    if used == 0 {
        return;
    }
    let uploads: BTreeSet<&str> = named.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
    let mongo = client.database(&app.database);
    let files: Vec<Document> =
        mongo.collection("saves.files").find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let mut visible = BTreeMap::new();
    for file in &files {
        let (id, key) = (file.get_str("_id").unwrap().to_owned(), file.get_str("filename").unwrap().to_owned());
        if !named.iter().any(|line| line.starts_with(&format!("{key} {id} "))) {
            broken.push(format!("no row names the file {id} of GridFS, {key}"));
        }
        visible.insert(id, key);
    }
    let chunks = mongo.collection::<Document>("saves.chunks");
    for id in chunks.distinct("files_id", doc! {}).await.unwrap() {
        let Bson::String(id) = id else { panic!("a chunk of {id}") };
        if !uploads.contains(id.as_str()) {
            broken.push(format!("no row names the chunks of {id} in GridFS"));
        }
    }
    for row in rows.iter().filter(|row| row.store == "grid") {
        if visible.get(&row.upload) != Some(&row.key) {
            broken.push(format!("the object {} of an available save has no file in GridFS", row.key));
            continue;
        }
        let of_file = doc! { "files_id": &row.upload };
        let parts: Vec<Document> =
            chunks.find(of_file).sort(doc! { "n": 1 }).await.unwrap().try_collect().await.unwrap();
        let mut content = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            if part.get_i32("n").ok() != i32::try_from(n).ok() {
                broken.push(format!("chunk {n} of {} is missing in GridFS", row.key));
            }
            content.extend_from_slice(part.get_binary_generic("data").unwrap());
        }
        verify(app, row, &content, broken).await;
    }
}

/// Store `cloud`, where a test has one: in a bucket of the installation's own.
async fn bucket(app: &App, rows: &[Row], broken: &mut Vec<String>) {
    let Some(bucket) = s3::looked_at(app) else { return };
    let sql = "SELECT unnest(ARRAY[key, upload_ref]) FROM save_objects WHERE store = 'cloud' AND state <> 'deleted'";
    let named: BTreeSet<String> = app.values::<String>(sql).await.into_iter().collect();
    let objects = bucket.objects();
    for key in objects.keys().filter(|key| !named.contains(*key)) {
        broken.push(format!("no row names the object {key} in the bucket"));
    }
    // One that holds no part holds no bytes: a worker that was killed before its row leaves it.
    for id in bucket.uploads() {
        if !named.contains(&format!("multipart:{id}")) {
            broken.push(format!("no row names the parts of upload {id} in the bucket"));
        }
    }
    for row in rows.iter().filter(|row| row.store == "cloud") {
        match objects.get(&row.key) {
            None => broken.push(format!("the object {} of an available save is not in the bucket", row.key)),
            Some(content) => verify(app, row, content, broken).await,
        }
    }
}

/// The bytes against their row, and a manifest against the rows of the save.
async fn verify(app: &App, row: &Row, content: &[u8], broken: &mut Vec<String>) {
    if content.len() != row.bytes || sha256(content) != row.sha256 {
        broken.push(format!("the object {} of an available save in {} is not what was stored", row.key, row.store));
        return;
    }
    if row.part != "manifest.json" {
        return;
    }
    let mut manifest: Value = serde_json::from_slice(content).unwrap();
    if let Some(body) = manifest["body"].as_str() {
        let Some(opened) = opened(app, body) else { return };
        manifest = serde_json::from_slice(&opened).unwrap();
    }
    let objects: Vec<String> = app
        .values(&format!(
            "SELECT part || ' ' || stored_bytes || ' ' || encode(sha256, 'hex') || ' ' || key FROM save_objects
             WHERE save_id = '{}' AND store = '{}' AND state = 'stored' AND part <> 'manifest.json' ORDER BY part",
            row.save, row.store
        ))
        .await;
    let text = |of: &Value| of.as_str().unwrap().to_owned();
    let mut said: Vec<String> = manifest["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| [text(&o["part"]), o["stored_bytes"].to_string(), text(&o["sha256"]), text(&o["key"])].join(" "))
        .collect();
    said.sort();
    if said != objects {
        broken.push(format!("the manifest {} says {said:?}, the rows say {objects:?}", row.key));
    }
}

/// The manifest of an encrypted store, by `age.key` of the installation; none where the test has kept no such key.
#[expect(clippy::disallowed_methods, reason = "as a person would at a terminal")]
fn opened(app: &App, body: &str) -> Option<Vec<u8>> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let key = app.dir.path().join("age.key");
    if !key.exists() {
        return None;
    }
    let sealed = app.dir.path().join("sealed");
    std::fs::write(&sealed, STANDARD.decode(body).unwrap()).unwrap();
    let done = std::process::Command::new("age").args(["-d", "-i"]).args([&key, &sealed]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(done.stdout)
}

/// SHA-256 in hexadecimal.
pub fn sha256(content: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, content);
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// Takes the installation's `GridFS` away, for tests that used it; after [`App::holds`].
pub async fn remove_grid(app: &App) {
    let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
    client.database(&app.database).drop().await.unwrap();
}
