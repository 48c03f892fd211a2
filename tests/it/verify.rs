//! Verifications: copies that are what was saved, that are not, that are gone, and that cannot be asked.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{App, Database, Digest, Proxy, TargetSpec, WorkerSpec, invariants, stack};

/// A second directory, as store `second`.
fn second(app: &App) -> (PathBuf, String) {
    let dir = app.dir.path().join("second");
    std::fs::create_dir(&dir).unwrap();
    let toml = format!("\n[stores.second]\nkind = \"file\"\nroot = \"{}\"\n", dir.display());
    (dir, toml)
}

async fn in_two(app: &mut App, source: &Database) -> String {
    let target = json!({ "stores": ["disk", "second"], "required_copies": 2 });
    app.target_with(&TargetSpec { target, ..TargetSpec::of(&source.name) }).await
}

async fn verify(app: &App, save: &str, body: Value) -> Value {
    let job = app.client.post(&format!("/v1/saves/{save}/verify?wait=60s"), body).await.expect(202);
    assert_eq!(job["state"], "succeeded", "{job:#}");
    job["result"].clone()
}

fn outcomes(result: &Value) -> Vec<(&str, &str)> {
    let text = |copy: &'_ Value, name: &str| copy[name].as_str().unwrap().to_owned();
    let mut all: Vec<(&str, &str)> = result["copies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|copy| (copy["store"].as_str().unwrap(), copy["outcome"].as_str().unwrap()))
        .collect();
    all.sort_unstable();
    assert!(result["copies"].as_array().unwrap().iter().all(|copy| !text(copy, "store").is_empty()));
    all
}

async fn state(app: &App, save: &str) -> (Vec<String>, bool, bool) {
    let save = app.client.get(&format!("/v1/saves/{save}")).await.expect(200);
    let copies = save["copies"].as_array().unwrap();
    let states = copies.iter().map(|copy| copy["state"].as_str().unwrap().to_owned()).collect();
    (states, save["valid"].as_bool().unwrap(), save["verified_at"].is_string())
}

async fn events(app: &App) -> Vec<String> {
    app.values(
        "SELECT type FROM outbox WHERE type IN ('save.verified', 'save.corrupt', 'save.unreachable') ORDER BY position",
    )
    .await
}

fn object(root: &Path, key: &str) -> PathBuf {
    root.join(key)
}

async fn key(app: &App, part: &str) -> String {
    app.value(&format!("SELECT key FROM save_objects WHERE store = 'second' AND part = '{part}'")).await
}

#[tokio::test]
async fn copies_that_are_what_was_saved_are_said_to_be() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let (_, more) = second(&app);
    let _worker = app.worker_with(&WorkerSpec { more, ..WorkerSpec::named("one") }).await;
    let target = in_two(&mut app, &source).await;
    let save = app.saved(&target).await;
    assert_eq!(state(&app, &save).await, (vec!["good".into(), "good".into()], true, false));
    // One is not enough for a save that requires two.
    let one = verify(&app, &save, json!({ "stores": ["second"], "repair": false })).await;
    assert_eq!((outcomes(&one), &one["verified"]), (vec![("second", "good")], &json!(false)), "{one:#}");
    assert!(!state(&app, &save).await.2);
    let all = verify(&app, &save, json!({ "repair": false })).await;
    assert_eq!(outcomes(&all), [("disk", "good"), ("second", "good")], "{all:#}");
    assert!(all["copies"].as_array().unwrap().iter().all(|copy| copy["raw_checked"] == true), "{all:#}");
    assert_eq!(state(&app, &save).await, (vec!["good".into(), "good".into()], true, true));
    assert_eq!(events(&app).await, ["save.verified"]);
    // It reads, and leaves nothing behind that holds a deletion up.
    let uses: i64 = app.value("SELECT count(*) FROM save_uses").await;
    assert_eq!(uses, 0);
    let unknown = app.client.post(&format!("/v1/saves/{save}/verify"), json!({ "stores": ["nowhere"] })).await;
    let problem = unknown.expect(422);
    assert_eq!(problem["errors"][0]["pointer"], "/stores", "{problem:#}");
    app.holds().await;
}

#[tokio::test]
async fn a_flipped_bit_a_lost_object_and_another_ones_bytes_are_found_in_their_copy_alone() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let (root, more) = second(&app);
    let _worker = app.worker_with(&WorkerSpec { more, ..WorkerSpec::named("one") }).await;
    let target = in_two(&mut app, &source).await;
    let save = app.saved(&target).await;
    for part in ["dump.0001", "manifest.json"] {
        let path = object(&root, &key(&app, part).await);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 0x10;
        for (bytes, word) in [(Some(&damaged[..]), "corrupt"), (Some(&whole[1..]), "corrupt"), (None, "missing")] {
            match bytes {
                Some(bytes) => std::fs::write(&path, bytes).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let found = verify(&app, &save, json!({ "repair": false })).await;
            assert_eq!(outcomes(&found), [("disk", "good"), ("second", word)], "{part}: {found:#}");
            assert_eq!(found["verified"], false, "{found:#}");
            assert_eq!(state(&app, &save).await, (vec!["good".into(), word.into()], false, false), "{part} {word}");
            assert_eq!(events(&app).await.last().unwrap(), "save.corrupt");
        }
        // Whoever puts it back has a good copy again.
        std::fs::write(&path, &whole).unwrap();
        let found = verify(&app, &save, json!({ "stores": ["second"], "repair": false })).await;
        assert_eq!(outcomes(&found), [("second", "good")], "{found:#}");
        let (states, valid, _) = state(&app, &save).await;
        assert_eq!((states, valid), (vec!["good".to_owned(), "good".to_owned()], true));
    }
    app.holds().await;
}

#[tokio::test]
async fn a_store_that_does_not_answer_says_nothing_of_its_copy() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let (proxy, uri) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let mongo_uri = Some(format!("{uri}?serverSelectionTimeoutMS=2000&directConnection=true"));
    let (root, more) = second(&app);
    let _worker = app.worker_with(&WorkerSpec { more, mongo_uri, ..WorkerSpec::named("one") }).await;
    let target = json!({ "stores": ["grid", "second"] });
    let target = app.target_with(&TargetSpec { target, ..TargetSpec::of(&source.name) }).await;
    let save = app.saved(&target).await;
    proxy.cut();
    let found = verify(&app, &save, json!({ "repair": false })).await;
    assert_eq!(outcomes(&found), [("grid", "unreachable"), ("second", "good")], "{found:#}");
    // A directory that is not mounted has no files, and is not missing any.
    let away = app.dir.path().join("away");
    std::fs::rename(&root, &away).unwrap();
    let job = app.client.post(&format!("/v1/saves/{save}/verify"), json!({ "repair": false })).await.id();
    let job = app.client.job_until(&job, "tried again", |job| job["error"].is_object()).await;
    assert_eq!(job["error"]["retryable"], true, "{job:#}");
    std::fs::rename(&away, &root).unwrap();
    proxy.heal();
    app.client.job_is(job["id"].as_str().unwrap(), "succeeded").await;
    assert_eq!(state(&app, &save).await, (vec!["good".into(), "good".into()], true, true));
    assert_eq!(events(&app).await, ["save.unreachable", "save.verified", "save.verified"]);
    app.holds().await;
    invariants::remove_grid(&app).await;
}

#[tokio::test]
async fn a_broken_copy_is_made_again_from_a_good_one_and_gc_takes_what_it_had() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let (root, more) = second(&app);
    let more = format!("{more}\n[gc]\ngrace_s = 0\ninterval_s = 0\n");
    let _worker = app.worker_with(&WorkerSpec { more, ..WorkerSpec::named("one") }).await;
    let target = in_two(&mut app, &source).await;
    let save = app.saved(&target).await;
    let whole = app.client.post(&format!("/v1/saves/{save}/copies"), json!({ "store": "second" })).await;
    whole.expect(409);

    let old = object(&root, &key(&app, "dump.0001").await);
    let mut damaged = std::fs::read(&old).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&old, damaged).unwrap();
    let found = verify(&app, &save, json!({})).await;
    assert_eq!(outcomes(&found), [("disk", "good"), ("second", "corrupt")], "{found:#}");
    let job: String = app.value("SELECT id::text FROM jobs WHERE kind = 'copy'").await;
    let job = app.client.job_is(&job, "succeeded").await;
    assert_eq!((&job["result"]["store"], &job["result"]["from"]), (&json!("second"), &json!("disk")), "{job:#}");
    assert_eq!(state(&app, &save).await, (vec!["good".into(), "good".into()], true, false));
    let repaired: i64 = app.value("SELECT count(*) FROM outbox WHERE type = 'save.repaired'").await;
    assert_eq!(repaired, 1);
    app.holds().await;
    let all = verify(&app, &save, json!({})).await;
    assert_eq!(
        (outcomes(&all), &all["verified"]),
        (vec![("disk", "good"), ("second", "good")], &json!(true)),
        "{all:#}"
    );

    let had: i64 = app.value("SELECT count(*) FROM save_objects WHERE state = 'deleting' AND store = 'second'").await;
    assert!(had >= 2 && old.exists(), "what the copy had before is gc's to take");
    let gc = app.client.post("/v1/gc?wait=60s", json!({ "dry_run": false, "store": "second" })).await.expect(202);
    assert_eq!(
        (&gc["result"]["objects"], &gc["result"]["stores"][0]["foreign"]["count"]),
        (&json!(had), &json!(0)),
        "{gc:#}"
    );
    assert!(!old.exists());

    // The whole copy is gone, and it is made again when asked for.
    std::fs::remove_dir_all(old.ancestors().nth(4).unwrap()).unwrap();
    let found = verify(&app, &save, json!({ "repair": false })).await;
    assert_eq!(outcomes(&found), [("disk", "good"), ("second", "missing")], "{found:#}");
    let job =
        app.client.post(&format!("/v1/saves/{save}/copies?wait=60s"), json!({ "store": "second" })).await.expect(202);
    assert_eq!(job["state"], "succeeded", "{job:#}");

    // It restores where the other one cannot.
    let first: String = app.value("SELECT key FROM save_objects WHERE store = 'disk' AND part = 'dump.0001'").await;
    let good = std::fs::read(app.store().join(&first)).unwrap();
    std::fs::write(app.store().join(&first), b"not a dump").unwrap();
    let copy = Database { name: stack::fresh("new") };
    let restore = app.restore(&save, &copy.name).await;
    app.client.job_is(&restore, "succeeded").await;
    assert_eq!(Digest::of(&source.name).await.rows, Digest::of(&copy.name).await.rows);
    std::fs::write(app.store().join(&first), good).unwrap();
    app.holds().await;
}
