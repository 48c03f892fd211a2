//! Encrypted stores through the real doors, and their saves by age, zstd and `pg_restore` alone.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod copies;
mod damage;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{App, Database, Process, TargetSpec, WorkerSpec, database, invariants::remove_grid, stack};

use crate::engine::one_attempt;

/// A pair of age keys; the secret one in a file. `age.key` is the one that what every test must leave behind is read by.
pub(crate) struct Key {
    pub(crate) file: PathBuf,
    pub(crate) recipient: String,
}

impl Key {
    pub(crate) fn new(app: &App, name: &str) -> Self {
        let file = app.dir.path().join(name);
        stack::run(Path::new("/usr/bin/age-keygen"), &["-o", file.to_str().unwrap()], &[]);
        let recipient = stack::run(Path::new("/usr/bin/age-keygen"), &["-y", file.to_str().unwrap()], &[]);
        Self { file, recipient: recipient.trim().to_owned() }
    }
}

/// A worker whose stores of these names are encrypted to `to`, and which can read with `identity`.
pub(crate) fn encrypting(name: &str, stores: &[&str], to: &[&Key], identity: Option<&Key>) -> WorkerSpec {
    let recipients: Vec<&str> = to.iter().map(|key| key.recipient.as_str()).collect();
    let identity = identity.map(|key| format!("identity_file = \"{}\"\n", key.file.display())).unwrap_or_default();
    let table = |store: &&str| format!("[stores.{store}.encryption]\nrecipients = {recipients:?}\n{identity}");
    let more = stores.iter().map(table).collect();
    WorkerSpec { more, ..WorkerSpec::named(name) }
}

pub(crate) async fn noise() -> Database {
    Database::create(
        "CREATE TABLE quite_secret AS SELECT n, md5(n::text) || md5((n * 7)::text) || md5((n * 13)::text) AS text FROM generate_series(1, 120000) n",
    )
    .await
}

pub(crate) async fn target(app: &mut App, source: &Database, stores: &[&str]) -> String {
    let target = json!({ "stores": stores, "required_copies": stores.len() });
    app.target_with(&TargetSpec { target, ..TargetSpec::of(&source.name) }).await
}

/// Restores into a new database and compares.
pub(crate) async fn restores(app: &App, save: &str) -> Value {
    let restored = Database { name: stack::fresh("new") };
    let job = app.restore(save, &restored.name).await;
    let job = app.client.job_is(&job, "succeeded").await;
    assert_eq!(restored.text("SELECT count(*)::text FROM quite_secret").await, "120000");
    job
}

/// The directory of a save in store `disk`.
pub(crate) async fn directory(app: &App, save: &str) -> PathBuf {
    let key: String = app
        .value(&format!(
            "SELECT key FROM save_objects WHERE save_id = '{save}' AND store = 'disk' AND part = 'dump.0001'"
        ))
        .await;
    app.store().join(key).parent().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "as a person would at a terminal")]
pub(crate) fn shell(directory: &Path, script: &str, envs: &[(&str, &str)]) -> String {
    let done = std::process::Command::new("/bin/bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        .envs(envs.iter().copied())
        .output()
        .unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// What `docs/operations.md` says of saves without Holdfast, for the target server.
pub(crate) async fn restores_by_standard_tools(directory: &Path, key: Option<&Key>) {
    let restored = Database { name: stack::fresh("cli") };
    let (host, port) = (stack::setting("TARGET_HOST"), stack::setting("TARGET_PORT"));
    let (user, password) = (stack::setting("TARGET_SUPER_USER"), stack::setting("TARGET_SUPER_PASSWORD"));
    let path = format!("{}:/usr/bin:/bin", stack::setting("PG_BINDIR"));
    let key_file = key.map(|key| key.file.to_str().unwrap()).unwrap_or_default();
    let envs = [
        ("PATH", path.as_str()),
        ("PGHOST", &host),
        ("PGPORT", &port),
        ("PGUSER", &user),
        ("PGPASSWORD", &password),
        ("KEY", key_file),
        ("DB", &restored.name),
    ];
    let script = match key {
        Some(_) => {
            "createdb \"$DB\"; cat dump.* | age -d -i \"$KEY\" | zstd -d | pg_restore -d \"$DB\" --no-owner
             jq -r .body manifest.json | base64 -d | age -d -i \"$KEY\" | jq -r '.objects[] | \"\\(.sha256)  \\(.part)\"' | sha256sum -c --quiet
             age -d -i \"$KEY\" globals.sql.zst.age | zstd -d | grep -c ROLE"
        }
        None => {
            "createdb \"$DB\"; cat dump.* | zstd -d | pg_restore -d \"$DB\" --no-owner
             jq -r '.objects[] | \"\\(.sha256)  \\(.part)\"' manifest.json | sha256sum -c --quiet
             zstd -dc globals.sql.zst | grep -c ROLE"
        }
    };
    shell(directory, script, &envs);
    assert_eq!(restored.text("SELECT count(*)::text FROM quite_secret").await, "120000");
}

#[tokio::test]
async fn each_recipient_alone_restores_and_the_stores_show_nothing() {
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let (one, two) = (Key::new(&app, "age.key"), Key::new(&app, "two.key"));
    let source = noise().await;
    let worker = app.worker_with(&encrypting("backs-up", &["disk", "grid"], &[&one, &two], None)).await;
    let target = target(&mut app, &source, &["disk", "grid"]).await;
    let save = app.saved(&target).await;
    let directory = directory(&app, &save).await;

    // Neither the data nor what it is called.
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(&directory).unwrap().flatten() {
        let bytes = std::fs::read(entry.path()).unwrap();
        parts.push(entry.file_name().into_string().unwrap());
        for known in [b"PGDMP".as_slice(), b"quite_secret", b"\x28\xb5\x2f\xfd", b"pg_dump", source.name.as_bytes()] {
            let shown = bytes.windows(known.len()).any(|window| window == known);
            assert!(!shown, "{:?} shows {}", entry.file_name(), known.escape_ascii());
        }
    }
    parts.sort();
    assert_eq!(parts, ["dump.0001", "globals.sql.zst.age", "manifest.json"]);
    let head: Value = serde_json::from_slice(&std::fs::read(directory.join("manifest.json")).unwrap()).unwrap();
    assert_eq!((&head["save"], &head["format"]), (&json!(save), &json!(2)));
    assert_eq!(head["encryption"]["age_recipients"].as_array().unwrap().len(), 2);
    let encodings: Vec<String> = app.values("SELECT store || ' ' || encodings::text FROM save_copies ORDER BY 1").await;
    assert_eq!(encodings, [r#"disk ["zstd", "age"]"#, r#"grid ["zstd", "age"]"#]);

    // The worker that wrote it cannot read it, says so, and says what to do.
    let wanted = stack::fresh("new");
    let job = app.restore(&save, &wanted).await;
    let error = crate::engine::fails(&app, &job, "identity_missing", false).await;
    assert!(error["message"].as_str().unwrap().contains("grid"), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains("identity_file"), "{error:#}");
    assert!(!database::exists(&wanted).await);
    stop(worker).await;

    for key in [&one, &two] {
        restores_by_standard_tools(&directory, Some(key)).await;
        let worker = app.worker_with(&encrypting("restores", &["disk", "grid"], &[&one, &two], Some(key))).await;
        let job = restores(&app, &save).await;
        let stages: Vec<&str> =
            job["result"]["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect();
        assert_eq!(stages, ["store", "sha256", "age", "unzstd", "blake3", "sink"]);
        stop(worker).await;
    }
    // Whoever is no recipient is told so.
    let stranger = Key::new(&app, "stranger.key");
    let _worker = app.worker_with(&encrypting("stranger", &["disk", "grid"], &[&stranger], Some(&stranger))).await;
    let job = app.restore(&save, &wanted).await;
    crate::engine::fails(&app, &job, "identity_wrong", false).await;
    assert!(!database::exists(&wanted).await);
    app.holds().await;
    remove_grid(&app).await;
}

pub(crate) async fn stop(mut worker: Process) {
    worker.stop().await;
}

#[tokio::test]
async fn a_copy_that_this_worker_cannot_read_gives_way_to_one_that_it_can() {
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let key = Key::new(&app, "age.key");
    let source = noise().await;
    // `disk` is encrypted, `grid` is not: two forms of one dump.
    let _worker = app.worker_with(&encrypting("one", &["disk"], &[&key], None)).await;
    let target = target(&mut app, &source, &["disk", "grid"]).await;
    let save = app.saved(&target).await;
    let facts: Vec<String> = app
        .values("SELECT DISTINCT encode(blake3, 'hex') || raw_bytes FROM save_objects WHERE part = 'dump.0001'")
        .await;
    assert_eq!(facts.len(), 1, "raw bytes are the same in each copy");
    let stored: Vec<i64> = app.values("SELECT DISTINCT stored_bytes FROM save_objects WHERE part = 'dump.0001'").await;
    assert_eq!(stored.len(), 2, "stored bytes are those of the copy");
    let job = restores(&app, &save).await;
    assert_eq!(job["result"]["store"], "grid", "{job:#}");
    assert_eq!(job["result"]["damaged_copies"][0]["store"], "disk", "{job:#}");
    restores_by_standard_tools(&directory(&app, &save).await, Some(&key)).await;
    app.holds().await;
    remove_grid(&app).await;
}

#[tokio::test]
async fn a_passphrase_encrypts_and_decrypts() {
    let mut app = App::spawn().await;
    let source = noise().await;
    let file = app.dir.path().join("passphrase");
    std::fs::write(&file, "correct horse battery staple\n").unwrap();
    let more = format!("[stores.disk.encryption]\npassphrase_file = {file:?}\n");
    let _worker = app.worker_with(&WorkerSpec { more, ..WorkerSpec::named("one") }).await;
    let target = target(&mut app, &source, &["disk"]).await;
    let save = app.saved(&target).await;
    restores(&app, &save).await;
    let head = std::fs::read(directory(&app, &save).await.join("manifest.json")).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    assert_eq!(head["encryption"], "age_passphrase");
    assert!(!app.logs().contains("battery"));
}

#[tokio::test]
async fn what_is_saved_before_encryption_stays_readable() {
    let mut app = App::spawn().await;
    one_attempt(&app).await;
    let key = Key::new(&app, "age.key");
    let source = noise().await;
    let worker = app.worker("plain").await;
    let target = target(&mut app, &source, &["disk"]).await;
    let save = app.saved(&target).await;
    // As saves were written before copies had facts of their own.
    app.execute("UPDATE save_copies SET encodings = NULL").await;
    app.execute("UPDATE saves SET manifest = jsonb_set(manifest, '{format}', '1')").await;
    stop(worker).await;
    let _worker = app.worker_with(&encrypting("later", &["disk"], &[&key], None)).await;
    restores(&app, &save).await;
    restores_by_standard_tools(&directory(&app, &save).await, None).await;
}
