//! Saves that were damaged in their stores: a restore refuses them before it commits, and the new database is gone again.

use std::{fs::OpenOptions, os::unix::fs::FileExt};

use futures_util::TryStreamExt;
use mongodb::bson::{Binary, Document, doc, spec::BinarySubtype};
use serde_json::json;
use support::{App, Database, TargetSpec, database, invariants::remove_grid, stack};

use super::{fails, one_attempt};

/// An installation with one save in the given stores, made from a database big enough for several chunks.
async fn saved_in(stores: &[&str]) -> (App, support::Process, Database, String) {
    let mut app = App::spawn().await;
    let source = Database::create(
        "CREATE TABLE noise AS SELECT n, md5(n::text) || md5((n * 7)::text) || md5((n * 13)::text) AS text FROM generate_series(1, 120000) n",
    )
    .await;
    let worker = app.worker("one").await;
    let target = json!({ "stores": stores });
    let target = app.target_with(&TargetSpec { target, ..TargetSpec::of(&source.name) }).await;
    let save = app.saved(&target).await;
    one_attempt(&app).await;
    (app, worker, source, save)
}

async fn restore_is_refused(app: &App, save: &str, code: &str, retryable: bool) {
    let wanted = stack::fresh("new");
    let job = app.restore(save, &wanted).await;
    let error = fails(app, &job, code, retryable).await;
    assert!(!database::exists(&wanted).await, "a damaged save became a database: {error:#}");
    assert_eq!(databases_of(&job).await, Vec::<String>::new(), "the database of the failed restore is left");
}

/// Databases under a name of this job's own.
pub(super) async fn databases_of(job: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE position($1 IN datname) > 0")
        .bind(format!("__hf_{}", job.replace('-', "")))
        .fetch_all(&mut database::connect("postgres").await)
        .await
        .unwrap()
}

async fn object(app: &App, save: &str) -> (std::path::PathBuf, u64) {
    let key: String = app
        .value(&format!(
            "SELECT key FROM save_objects WHERE save_id = '{save}' AND store = 'disk' AND part LIKE 'dump%'"
        ))
        .await;
    let path = app.store().join(key);
    let length = std::fs::metadata(&path).unwrap().len();
    (path, length)
}

#[tokio::test]
async fn one_flipped_bit_in_a_file_is_refused_wherever_it_is() {
    let (app, _worker, _source, save) = saved_in(&["disk"]).await;
    let (path, length) = object(&app, &save).await;
    assert!(length > 3 << 20, "the save is too small to mean anything: {length}");
    for at in [0, 9, length / 2, length - 1] {
        flip(&path, at);
        restore_is_refused(&app, &save, "object_corrupt", false).await;
        flip(&path, at);
    }
    // Whole again, it restores: what was refused was the bit.
    let restored = Database { name: stack::fresh("new") };
    let job = app.restore(&save, &restored.name).await;
    app.client.job_is(&job, "succeeded").await;
    assert_eq!(restored.text("SELECT count(*)::text FROM noise").await, "120000");
    app.holds().await;
}

fn flip(path: &std::path::Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[tokio::test]
async fn a_file_that_was_cut_short_is_refused() {
    let (app, _worker, _source, save) = saved_in(&["disk"]).await;
    let (path, length) = object(&app, &save).await;
    let whole = std::fs::read(&path).unwrap();
    for left in [length - 1, length - (1 << 20), length / 2, 1 << 20, 1, 0] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(left).unwrap();
        restore_is_refused(&app, &save, "object_corrupt", false).await;
        std::fs::write(&path, &whole).unwrap();
    }
    let longer = [&whole[..], b"more"].concat();
    std::fs::write(&path, longer).unwrap();
    restore_is_refused(&app, &save, "object_corrupt", false).await;
    std::fs::remove_file(&path).unwrap();
    restore_is_refused(&app, &save, "object_missing", false).await;
}

#[tokio::test]
async fn damaged_chunks_in_gridfs_are_refused() {
    let (app, _worker, _source, save) = saved_in(&["grid"]).await;
    let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
    let mongo = client.database(&app.database);
    let files = mongo.collection::<Document>("saves.files");
    let chunks = mongo.collection::<Document>("saves.chunks");
    let all: Vec<Document> = files.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    let file = all.iter().max_by_key(|file| length_of(file)).unwrap();
    let id = file.get("_id").unwrap().clone();
    let of_file = doc! { "files_id": id };
    let parts: Vec<Document> = chunks.find(of_file).sort(doc! { "n": 1 }).await.unwrap().try_collect().await.unwrap();
    assert!(parts.len() > 1, "one chunk means nothing");

    for (n, damage) in [
        (0, "flip"),
        (parts.len() - 1, "flip"),
        (parts.len() - 1, "short"),
        (0, "gone"),
        (parts.len() - 1, "gone"),
        (0, "swap"),
    ] {
        let part = &parts[n];
        let this = doc! { "_id": part.get("_id").unwrap().clone() };
        let bytes = |part: &Document| part.get_binary_generic("data").unwrap().clone();
        let set = |bytes: Vec<u8>| doc! { "$set": { "data": Binary { subtype: BinarySubtype::Generic, bytes } } };
        match damage {
            "flip" => {
                let mut data = bytes(part);
                let middle = data.len() / 2;
                data[middle] ^= 1;
                chunks.update_one(this.clone(), set(data)).await.unwrap();
            }
            "short" => {
                let mut data = bytes(part);
                data.pop();
                chunks.update_one(this.clone(), set(data)).await.unwrap();
            }
            "swap" => drop(chunks.update_one(this.clone(), set(bytes(&parts[1]))).await.unwrap()),
            _ => drop(chunks.delete_one(this.clone()).await.unwrap()),
        }
        restore_is_refused(&app, &save, "object_corrupt", false).await;
        chunks.delete_one(this).await.unwrap();
        chunks.insert_one(part).await.unwrap();
    }
    let restored = Database { name: stack::fresh("new") };
    let job = app.restore(&save, &restored.name).await;
    app.client.job_is(&job, "succeeded").await;
    app.holds().await;
    mongo.drop().await.unwrap();
}

fn length_of(file: &Document) -> i64 {
    file.get_i64("length").or_else(|_| file.get_i32("length").map(i64::from)).unwrap()
}

#[tokio::test]
async fn a_good_copy_is_taken_where_another_is_damaged() {
    let (app, _worker, _source, save) = saved_in(&["disk", "grid"]).await;
    let (path, length) = object(&app, &save).await;
    flip(&path, length - 5);
    let restored = Database { name: stack::fresh("new") };
    let job = app.restore(&save, &restored.name).await;
    let job = app.client.job_is(&job, "succeeded").await;
    assert_eq!(job["result"]["store"], "grid", "{job:#}");
    assert_eq!(job["result"]["damaged_copies"][0]["store"], "disk", "{job:#}");
    assert_eq!(restored.text("SELECT count(*)::text FROM noise").await, "120000");
    // The damaged copy is not what was stored: `holds` would say so, rightly.
    flip(&path, length - 5);
    app.holds().await;
    remove_grid(&app).await;
}
