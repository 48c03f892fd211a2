//! Collections: what a killed worker left goes, in both stores, and nothing else does.

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{App, Database, Process, Proxy, WorkerSpec, stack, until};

use super::{Grid, in_both_stores, on_disk, write};
use crate::engine::stand_in;

const NOTHING_IS_TOO_YOUNG: &str = "\n[gc]\ngrace_s = 0\ninterval_s = 0\n";

/// A worker that collects what is a moment old, and not by itself.
fn at_once(name: &str) -> WorkerSpec {
    WorkerSpec { more: NOTHING_IS_TOO_YOUNG.to_owned(), ..WorkerSpec::named(name) }
}

/// A source that does not compress away.
async fn noise() -> Database {
    Database::create(
        "CREATE TABLE noise AS SELECT n, md5(n::text) || md5((n * 7)::text) || md5((n * 13)::text) AS text FROM generate_series(1, 100000) n",
    )
    .await
}

/// A worker in the middle of a backup, its `pg_dump` waiting for [`HalfWay::go`].
struct HalfWay {
    worker: Process,
    job: String,
    gate: PathBuf,
}

impl HalfWay {
    async fn start(app: &App, target: &str, spec: WorkerSpec) -> Self {
        let gate = app.dir.path().join("go");
        let script = format!(
            "\"$REAL\" \"$@\" | {{ head -c 6000000; while [ ! -e '{}' ]; do sleep 0.05; done; cat; }}",
            gate.display()
        );
        let spec = WorkerSpec { pg_bindirs: vec![stand_in(app, &script)], ..spec };
        let worker = app.worker_with(&spec).await;
        let job = app.backup(target).await;
        app.client.job_until(&job, "half-way", |job| job["progress"]["raw_bytes"] == json!(6_000_000)).await;
        Self { worker, job, gate }
    }

    fn go(&self) {
        std::fs::write(&self.gate, "").unwrap();
    }
}

/// A save, and what a worker that was killed while it made it has left in both stores.
async fn leftovers(app: &mut App, source: &Database, next: &WorkerSpec) -> (Process, String) {
    let target = in_both_stores(app, source).await;
    let mut half = HalfWay::start(app, &target, WorkerSpec::named("killed")).await;
    half.worker.kill9().await;
    // What the stand-in started has nobody who ends it with its parent.
    half.go();
    let worker = app.worker_with(next).await;
    let job = app.client.job_is(&half.job, "succeeded").await;
    assert_eq!(job["attempt"], 2, "{job:#}");
    let dead: i64 = app.value("SELECT count(*) FROM dead_objects").await;
    assert_eq!(dead, 2, "the dump in each of two stores");
    (worker, job["save_id"].as_str().unwrap().to_owned())
}

async fn gc(app: &App, body: Value) -> Value {
    let job = app.client.post("/v1/gc?wait=60s", body).await.expect(202);
    assert_eq!(job["state"], "succeeded", "{job:#}");
    job["result"].clone()
}

/// The part of a result that tells of one store.
fn of<'r>(result: &'r Value, store: &str) -> &'r Value {
    result["stores"].as_array().unwrap().iter().find(|report| report["store"] == store).unwrap()
}

fn uploads(app: &App) -> Vec<String> {
    on_disk(app).into_keys().filter(|name| name.starts_with(".tmp/")).collect()
}

#[tokio::test]
async fn what_a_killed_worker_left_goes_from_both_stores_and_nothing_else() {
    let source = noise().await;
    let mut app = App::spawn().await;
    let (_worker, save) = leftovers(&mut app, &source, &at_once("b")).await;
    let grid = Grid::of(&app).await;
    assert_eq!(uploads(&app).len(), 1);
    let dead_chunks: String = app.value("SELECT upload_ref FROM dead_objects WHERE store = 'grid'").await;
    assert!(grid.chunks().await.contains(&dead_chunks), "the killed worker had chunks there");

    // What is not ours, in every shape.
    let theirs = format!("{}/items/t/s/1/dump.0001", uuid::Uuid::now_v7());
    let installation: String = app.value("SELECT id::text FROM installation").await;
    let unknown = format!("{installation}/nobody/knows/this");
    for key in ["notes.txt", &theirs, &unknown] {
        write(&app.store().join(key), "abc");
        grid.plant(key).await;
    }
    let (disk_before, files_before, chunks_before) = (on_disk(&app), grid.files().await, grid.chunks().await);
    let rows = || app.values::<String>("SELECT to_jsonb(o)::text FROM save_objects o ORDER BY id");
    let rows_before = rows().await;

    // Unless told otherwise it only looks.
    let looked = gc(&app, json!({})).await;
    assert_eq!((&looked["dry_run"], &looked["objects"]), (&json!(true), &json!(2)), "{looked:#}");
    for store in ["disk", "grid"] {
        let foreign = &of(&looked, store)["foreign"];
        assert_eq!(
            (&foreign["count"], &foreign["bytes"], &foreign["complete"]),
            (&json!(3), &json!(9), &json!(true)),
            "{looked:#}"
        );
        assert_eq!(foreign["other_installations"], 1, "{looked:#}");
        let keys: Vec<(&str, &str)> = foreign["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| (key["key"].as_str().unwrap(), key["why"].as_str().unwrap()))
            .collect();
        assert!(
            keys.contains(&("notes.txt", "unknown"))
                && keys.contains(&(&theirs, "other_installation"))
                && keys.contains(&(&unknown, "unknown")),
            "{keys:?}"
        );
    }
    assert_eq!(
        (on_disk(&app), grid.files().await, grid.chunks().await),
        (disk_before.clone(), files_before.clone(), chunks_before.clone())
    );
    assert_eq!(rows().await, rows_before);

    let done = gc(&app, json!({ "dry_run": false })).await;
    assert_eq!((&done["dry_run"], &done["objects"]), (&json!(false), &json!(2)), "{done:#}");
    assert_eq!(of(&done, "disk")["remaining"], 0);
    let mut expected = disk_before;
    expected.retain(|name, _| !name.starts_with(".tmp/"));
    assert_eq!(on_disk(&app), expected, "more or less than the dead upload went");
    assert_eq!(grid.files().await, files_before);
    let mut chunks = chunks_before;
    chunks.retain(|id| *id != dead_chunks);
    assert_eq!(grid.chunks().await, chunks);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM save_objects WHERE state = 'deleted'").await, 2);
    // Nothing is left to do, and the foreign ones are still told of.
    let again = gc(&app, json!({ "dry_run": false, "store": "disk" })).await;
    assert_eq!((&again["objects"], &of(&again, "disk")["foreign"]["count"]), (&json!(0), &json!(3)), "{again:#}");
    assert_eq!(again["stores"].as_array().unwrap().len(), 1);
    // The save is whole.
    let copy = Database { name: stack::fresh("new") };
    let restore = app.restore(&save, &copy.name).await;
    app.client.job_is(&restore, "succeeded").await;
    for key in ["notes.txt", &theirs, &unknown] {
        std::fs::remove_file(app.store().join(key)).unwrap();
        grid.uproot(key).await;
    }
    app.holds().await;
    grid.drop().await;
}

#[tokio::test]
async fn what_is_young_is_left_until_its_time_has_come() {
    let source = noise().await;
    let mut app = App::spawn().await;
    let (_worker, _) = leftovers(&mut app, &source, &WorkerSpec::named("b")).await;
    let grid = Grid::of(&app).await;
    let before = (on_disk(&app), grid.chunks().await);
    let done = gc(&app, json!({ "dry_run": false })).await;
    assert_eq!((&done["objects"], &done["grace_s"]), (&json!(0), &json!(86400.0)), "{done:#}");
    assert_eq!((&of(&done, "disk")["young"], &of(&done, "grid")["young"]), (&json!(1), &json!(1)), "{done:#}");
    assert_eq!((on_disk(&app), grid.chunks().await), before);
    app.execute("UPDATE save_objects SET updated_at = now() - interval '86399 s' WHERE store = 'disk'").await;
    app.execute("UPDATE save_objects SET updated_at = now() - interval '86401 s' WHERE store = 'grid'").await;
    let done = gc(&app, json!({ "dry_run": false })).await;
    assert_eq!((&of(&done, "disk")["objects"], &of(&done, "grid")["objects"]), (&json!(0), &json!(1)), "{done:#}");
    assert_eq!(uploads(&app).len(), 1);
    app.holds().await;
    grid.drop().await;
}

#[tokio::test]
async fn an_attempt_that_lives_keeps_its_bytes() {
    let source = noise().await;
    let mut app = App::spawn().await;
    let target = in_both_stores(&mut app, &source).await;
    let half = HalfWay::start(&app, &target, at_once("a")).await;
    let done = gc(&app, json!({ "dry_run": false })).await;
    assert_eq!(done["objects"], 0, "{done:#}");
    half.go();
    app.client.job_is(&half.job, "succeeded").await;
    let done = gc(&app, json!({ "dry_run": false })).await;
    assert_eq!((&done["objects"], &of(&done, "disk")["foreign"]["count"]), (&json!(0), &json!(0)), "{done:#}");
    app.holds().await;
    Grid::of(&app).await.drop().await;
}

#[tokio::test]
async fn a_collection_comes_by_itself_when_there_is_something_to_take_and_only_then() {
    let source = noise().await;
    let mut app = App::spawn().await;
    let more = "\n[gc]\ngrace_s = 0\ninterval_s = 0.2\n".to_owned();
    let target = in_both_stores(&mut app, &source).await;
    let mut half = HalfWay::start(&app, &target, WorkerSpec::named("killed")).await;
    half.worker.kill9().await;
    // What the stand-in started has nobody who ends it with its parent.
    half.go();
    let mut worker = app.worker_with(&WorkerSpec { more, ..WorkerSpec::named("b") }).await;
    until("the leftovers are gone", || async {
        let open: i64 = app.value("SELECT count(*) FROM save_objects WHERE state NOT IN ('stored', 'deleted')").await;
        let saved: i64 = app.value("SELECT count(*) FROM saves WHERE state = 'available'").await;
        (open == 0 && saved == 1).then_some(())
    })
    .await;
    assert!(uploads(&app).is_empty());
    let jobs: Vec<String> = app.values("SELECT payload::text FROM jobs WHERE kind = 'gc'").await;
    assert!(jobs.iter().all(|payload| payload.contains("\"dry_run\": false")), "{jobs:?}");
    // Many intervals and sweeps with nothing to take: a backup's whole time is some of each.
    let count = jobs.len();
    assert!(count >= 1);
    for _ in 0..3 {
        app.saved(&target).await;
    }
    let sweeps_later: i64 = app.value("SELECT count(*) FROM jobs WHERE kind = 'gc'").await;
    assert_eq!(sweeps_later, i64::try_from(count).unwrap());
    assert!(worker.stop().await.success());
    app.holds().await;
    Grid::of(&app).await.drop().await;
}

#[tokio::test]
async fn a_store_that_is_away_does_not_keep_the_others_from_it() {
    let source = noise().await;
    let mut app = App::spawn().await;
    let (proxy, uri) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let uri = format!("{uri}?serverSelectionTimeoutMS=1000&directConnection=true");
    let (_worker, _) = leftovers(&mut app, &source, &WorkerSpec { mongo_uri: Some(uri), ..at_once("b") }).await;
    proxy.cut();
    let done = gc(&app, json!({ "dry_run": false })).await;
    assert_eq!((&done["objects"], &done["failed_stores"][0]["store"]), (&json!(1), &json!("grid")), "{done:#}");
    assert_eq!(done["failed_stores"][0]["error"]["code"], "store_unreachable", "{done:#}");
    assert!(uploads(&app).is_empty());
    let job = app.client.post("/v1/gc", json!({ "store": "grid" })).await.id();
    let failed = app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "store_unreachable", "{failed:#}");
    let job = app.client.post("/v1/gc", json!({ "store": "nowhere" })).await.id();
    let failed = app.client.job_is(&job, "failed").await;
    assert_eq!(failed["error"]["code"], "store_unknown", "{failed:#}");
    app.holds().await;
    Grid::of(&app).await.drop().await;
}

#[tokio::test]
async fn what_was_deleted_and_is_there_again_is_told_and_left() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let _worker = app.worker_with(&at_once("a")).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    let (key, bytes) = on_disk(&app).into_iter().find(|(key, _)| key.ends_with("dump.0001")).unwrap();
    let job = super::delete(&app, &save).await.id();
    app.client.job_is(&job, "succeeded").await;
    // As from a backup of the store's own disk.
    std::fs::create_dir_all(app.store().join(&key).parent().unwrap()).unwrap();
    std::fs::write(app.store().join(&key), &bytes).unwrap();
    let done = gc(&app, json!({ "dry_run": false, "store": "disk" })).await;
    let foreign = &of(&done, "disk")["foreign"];
    assert_eq!((&foreign["leftovers"], &foreign["keys"][0]["why"]), (&json!(1), &json!("leftover")), "{done:#}");
    assert_eq!(std::fs::read(app.store().join(&key)).unwrap(), bytes);
}
