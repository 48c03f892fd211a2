//! Archives that are not whole, against every kind of part: nothing is changed, be it the store that lost bytes, or a bad
//! archive that was recorded as if it were good.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use support::{database, database::run, stack};

use super::{Saved, digest, names};

/// Rows enough that what stands last in the archive is far from what a filter needs.
const ROWS: &str = "CREATE TABLE a_first (id serial PRIMARY KEY, x text); CREATE TABLE b_last (id int PRIMARY KEY REFERENCES a_first, x text);
    INSERT INTO a_first (x) SELECT md5(g::text) FROM generate_series(1, 30000) g;
    INSERT INTO b_last SELECT g, md5(g::text) || md5((g * 7)::text) FROM generate_series(1, 30000) g";

/// Every kind of part, with what of it would be changed.
fn parts() -> Vec<(&'static str, Value)> {
    vec![
        ("the first table", json!({ "tables": names(&[("public", "a_first")]) })),
        ("the last table", json!({ "tables": names(&[("public", "b_last")]) })),
        ("both", json!({ "tables": names(&[("public", "a_first"), ("public", "b_last")]) })),
        ("structure of a table", json!({ "mode": "schema", "tables": names(&[("public", "c_empty")]) })),
        ("rows of a table", json!({ "mode": "data", "tables": names(&[("public", "c_empty")]) })),
        ("new: a table", json!({ "into": "new", "tables": names(&[("public", "a_first")]) })),
        ("new: structure", json!({ "into": "new", "mode": "schema" })),
        ("new: without extensions", json!({ "into": "new", "extensions": "skip" })),
    ]
}

async fn saved() -> (Saved, PathBuf, Vec<u8>) {
    let saved = Saved::of(&format!("{ROWS}; CREATE TABLE c_empty (id int)")).await;
    run(&mut saved.source.session().await, "UPDATE a_first SET x = 'now'; UPDATE b_last SET x = 'now'").await;
    let key: String = saved
        .app
        .value(&format!("SELECT key FROM save_objects WHERE save_id = '{}' AND part LIKE 'dump%'", saved.save))
        .await;
    let path = saved.app.store().join(key);
    let whole = std::fs::read(&path).unwrap();
    (saved, path, whole)
}

/// Each part is refused with this code, and nothing is changed.
async fn all_refused(saved: &Saved, code: &str, what: &str) {
    let before = digest(&saved.source.name);
    for (kind, part) in parts() {
        let mut body = part.clone();
        let new = stack::fresh("new");
        let is_new = body["into"] == "new";
        if is_new {
            body["into"] = json!({ "database": new });
        }
        let job = if is_new { finished(saved, body).await } else { saved.restore(body).await };
        assert_eq!(job["state"], "failed", "{what}, {kind}: {job:#}");
        assert_eq!(job["error"]["code"], code, "{what}, {kind}: {job:#}");
        assert!(!database::exists(&new).await, "{what}, {kind}: a database came of it");
        assert_eq!(digest(&saved.source.name), before, "{what}, {kind}: the target was changed");
    }
}

async fn finished(saved: &Saved, body: Value) -> Value {
    let job = saved.ask(body).await;
    saved.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await
}

#[tokio::test]
async fn an_object_that_was_cut_short_changes_nothing_whatever_is_wanted_of_it() {
    let (saved, path, whole) = saved().await;
    let length = whole.len() as u64;
    for left in [length - 1, length / 2, 1000] {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(left).unwrap();
        all_refused(&saved, "object_corrupt", &format!("{left} of {length} bytes")).await;
        std::fs::write(&path, &whole).unwrap();
    }
    let mut flipped = whole.clone();
    let last = flipped.len() - 3;
    flipped[last] ^= 4;
    std::fs::write(&path, &flipped).unwrap();
    all_refused(&saved, "object_corrupt", "a flipped bit").await;
    std::fs::write(&path, &whole).unwrap();
    saved.app.holds().await;
}

#[tokio::test]
async fn a_bad_archive_that_was_recorded_as_good_changes_nothing_either() {
    let (saved, path, whole) = saved().await;
    let raw = super::super::engine::options::stored(&saved.app, &saved.save, "dump.0001").await;
    for cut in [raw.len() - 1, raw.len() * 2 / 3, raw.len() / 3, 3000] {
        let bad = &raw[..cut];
        let plain = saved.app.dir.path().join("bad");
        std::fs::write(&plain, bad).unwrap();
        let zstd = ["-qf", "-1", plain.to_str().unwrap(), "-o", path.to_str().unwrap()];
        stack::run(Path::new("/usr/bin/zstd"), &zstd, &[]);
        let stored = std::fs::read(&path).unwrap();
        record(&saved, &path, bad, stored.len()).await;
        all_refused(&saved, "archive_broken", &format!("{cut} of {} raw bytes", raw.len())).await;
    }
    // As it was, it restores: what was refused was the cut.
    std::fs::write(&path, &whole).unwrap();
    record(&saved, &path, &raw, whole.len()).await;
    let job = saved.tables(&[("public", "a_first"), ("public", "b_last")]).await;
    super::succeeded(&job);
    saved.app.holds().await;
}

/// Makes the rows of the copy say that these are its bytes.
async fn record(saved: &Saved, path: &Path, raw: &[u8], stored: usize) {
    let sha256 = stack::run(Path::new("/usr/bin/sha256sum"), &[path.to_str().unwrap()], &[]);
    let sha256 = sha256.split(' ').next().unwrap();
    let blake3 = blake3::hash(raw).to_hex();
    let set = format!(
        "raw_bytes = {}, stored_bytes = {stored}, sha256 = decode('{sha256}', 'hex'), blake3 = decode('{blake3}', 'hex')",
        raw.len(),
    );
    let row = format!("save_id = '{}' AND part = 'dump.0001'", saved.save);
    saved.app.execute(&format!("UPDATE save_objects SET {set} WHERE {row}")).await;
}

#[tokio::test]
async fn a_damage_between_the_two_readings_is_found_before_anything_is_committed() {
    // More than all buffers between the store and the tool hold.
    let saved = Saved::of(
        "CREATE TABLE noise AS SELECT g, (SELECT string_agg(md5(g::text || n), '') FROM generate_series(1, 20) n) AS x
           FROM generate_series(1, 60000) g",
    )
    .await;
    let key: String = saved.app.value("SELECT key FROM save_objects WHERE part LIKE 'dump%'").await;
    let path = saved.app.store().join(key);
    let whole = std::fs::read(&path).unwrap();
    run(&mut saved.source.session().await, "DELETE FROM noise WHERE g > 10").await;
    let before = digest(&saved.source.name);
    // The tool stands at the lock, between the readings: what it is given next is not what was checked.
    let hold = saved.source.hold("noise").await;
    let tables = names(&[("public", "noise")]);
    let job = saved.ask(json!({ "into": {}, "confirm": saved.source.name, "safety": false, "tables": tables })).await;
    saved.source.dump_waits().await;
    let mut damaged = whole.clone();
    let late = whole.len() - 100_000;
    damaged[late] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    hold.release().await;
    let job = saved.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(job["error"]["code"], "object_corrupt", "{job:#}");
    assert_eq!(digest(&saved.source.name), before, "{job:#}");
    saved.app.holds().await;
}
