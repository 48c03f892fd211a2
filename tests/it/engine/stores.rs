//! Stores that are full, or gone while bytes flow.

use std::path::{Path, PathBuf};

use serde_json::json;
use support::{App, Database, Process, Proxy, TargetSpec, WorkerSpec, stack};

use super::{fails, one_attempt, tools::stand_in};

/// A file system of its own, unmounted when dropped.
pub(crate) struct Small {
    pub(crate) path: PathBuf,
}

impl Small {
    /// None where this machine does not let us mount.
    pub(crate) fn mount(app: &App, bytes: &str) -> Option<Self> {
        let path = app.dir.path().join("small");
        std::fs::create_dir(&path).unwrap();
        let mounted = rustix::process::geteuid().is_root()
            && std::panic::catch_unwind(|| {
                let size = format!("size={bytes}");
                stack::run(
                    Path::new("/usr/bin/mount"),
                    &["-t", "tmpfs", "-o", &size, "none", path.to_str().unwrap()],
                    &[],
                );
            })
            .is_ok();
        mounted.then_some(Self { path })
    }

    /// Makes room.
    pub(crate) fn grow(&self, bytes: &str) {
        let options = format!("remount,size={bytes}");
        stack::run(Path::new("/usr/bin/mount"), &["-o", &options, self.path.to_str().unwrap()], &[]);
    }

    /// Everything that lies there.
    pub(crate) fn copy_to(&self, to: &Path) {
        stack::run(Path::new("/bin/cp"), &["-a", self.path.to_str().unwrap(), to.to_str().unwrap()], &[]);
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![self.path.clone()];
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    open.push(entry.path());
                } else if entry.file_name() != ".holdfast-store.json" {
                    found.push(entry.path());
                }
            }
        }
        found
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        stack::run(Path::new("/usr/bin/umount"), &["-l", self.path.to_str().unwrap()], &[]);
    }
}

pub(crate) async fn noise() -> Database {
    Database::create(
        "CREATE TABLE noise AS SELECT n, md5(n::text) || md5((n * 7)::text) || md5((n * 13)::text) AS text FROM generate_series(1, 200000) n",
    )
    .await
}

async fn is_failed(app: &App, job: &str) {
    let job = app.client.job(job).await;
    let save = app.client.get(&format!("/v1/saves/{}", job["save_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(save["state"], "failed", "{save:#}");
}

#[tokio::test]
async fn a_full_store_is_an_error_and_is_empty_again() {
    let mut app = App::spawn().await;
    let Some(small) = Small::mount(&app, "4m") else {
        eprintln!("skipped: only root can mount a small file system; the faulty store's own tests cover the code");
        return;
    };
    let source = noise().await;
    one_attempt(&app).await;
    let spec = WorkerSpec { store_root: Some(small.path.clone()), ..WorkerSpec::named("one") };
    let _worker = app.worker_with(&spec).await;
    let target = app.target(&source).await;
    let job = app.backup(&target).await;
    let error = fails(&app, &job, "store_full", true).await;
    assert!(error["message"].as_str().unwrap().contains("disk"), "it does not say which store: {error:#}");
    is_failed(&app, &job).await;
    assert_eq!(small.files(), Vec::<PathBuf>::new());
    app.holds().await;
}

/// A worker whose real `pg_dump` is held up after these many bytes until [`Held::go`].
pub(crate) struct Held {
    _worker: Process,
    pub(crate) job: String,
    gate: PathBuf,
}

const BEFORE_THE_GATE: u64 = 6_000_000;

impl Held {
    pub(crate) async fn half_way(app: &mut App, source: &Database, spec: WorkerSpec, stores: &[&str]) -> Self {
        let target = TargetSpec { target: json!({ "stores": stores }), ..TargetSpec::of(&source.name) };
        Self::half_way_to(app, &target, spec).await
    }

    pub(crate) async fn half_way_to(app: &mut App, target: &TargetSpec, spec: WorkerSpec) -> Self {
        let gate = app.dir.path().join("go");
        let script = format!(
            "\"$REAL\" \"$@\" | {{ head -c {BEFORE_THE_GATE}; while [ ! -e '{}' ]; do sleep 0.05; done; cat; }}",
            gate.display()
        );
        let spec = WorkerSpec { pg_bindirs: vec![stand_in(app, &script)], ..spec };
        let worker = app.worker_with(&spec).await;
        let target = app.target_with(target).await;
        let job = app.backup(&target).await;
        app.client
            .job_until(&job, "half-way", |job| job["progress"]["raw_bytes"].as_u64() == Some(BEFORE_THE_GATE))
            .await;
        Self { _worker: worker, job, gate }
    }

    pub(crate) fn go(&self) {
        std::fs::write(&self.gate, "").unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_is_gone_mid_upload_is_an_error_and_comes_back_empty() {
    let mut app = App::spawn().await;
    let source = noise().await;
    one_attempt(&app).await;
    let held = Held::half_way(&mut app, &source, WorkerSpec::named("one"), &["disk"]).await;
    // As an unmounted disk leaves it.
    let away = app.dir.path().join("away");
    std::fs::rename(app.store(), &away).unwrap();
    held.go();
    let error = fails_with(&app, &held.job, &["store_unreachable", "object_missing", "store_failed"]).await;
    assert!(error["message"].as_str().unwrap().contains("disk"), "{error:#}");
    is_failed(&app, &held.job).await;
    std::fs::rename(&away, app.store()).unwrap();
    // The removal could not reach the bytes: a row of the dead attempt still names each of them.
    app.holds().await;
}

async fn fails_with(app: &App, job: &str, codes: &[&str]) -> serde_json::Value {
    let job = app.client.job_until(job, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    let error = job["error"].clone();
    assert!(codes.iter().any(|code| error["code"] == **code), "{error:#}");
    error
}

#[tokio::test]
async fn a_mongodb_that_is_gone_mid_upload_is_an_error() {
    let mut app = App::spawn().await;
    let source = noise().await;
    one_attempt(&app).await;
    let (proxy, uri) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let uri = format!("{uri}?serverSelectionTimeoutMS=2000&directConnection=true");
    let spec = WorkerSpec { mongo_uri: Some(uri), ..WorkerSpec::named("one") };
    let held = Held::half_way(&mut app, &source, spec, &["grid"]).await;
    proxy.cut();
    held.go();
    let error = fails(&app, &held.job, "store_unreachable", true).await;
    assert!(error["message"].as_str().unwrap().contains("grid"), "{error:#}");
    is_failed(&app, &held.job).await;
    app.holds().await;
    // Nothing that looks like a file: chunks without one are named by the row of the dead attempt.
    let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
    let mongo = client.database(&app.database);
    let files = mongo.collection::<mongodb::bson::Document>("saves.files");
    assert_eq!(files.count_documents(mongodb::bson::doc! {}).await.unwrap(), 0);
    mongo.drop().await.unwrap();
}

#[tokio::test]
async fn the_copy_in_the_store_that_stays_makes_the_save() {
    let mut app = App::spawn().await;
    let source = noise().await;
    one_attempt(&app).await;
    let (proxy, uri) = Proxy::before(&stack::setting("MONGO_URL")).await;
    let uri = format!("{uri}?serverSelectionTimeoutMS=2000&directConnection=true");
    let spec = WorkerSpec { mongo_uri: Some(uri), ..WorkerSpec::named("one") };
    let held = Held::half_way(&mut app, &source, spec, &["disk", "grid"]).await;
    proxy.cut();
    held.go();
    let job = app.client.job_is(&held.job, "succeeded").await;
    let save = app.client.get(&format!("/v1/saves/{}", job["save_id"].as_str().unwrap())).await.expect(200);
    assert_eq!(save["state"], "available", "{save:#}");
    for copy in save["copies"].as_array().unwrap() {
        let good = copy["store"] == "disk";
        assert_eq!(copy["state"] == "good", good, "{save:#}");
    }
    // The other one is made by a job of its own, which tries as often as any, and then says that it could not.
    let copy: String =
        app.value("SELECT id::text FROM jobs WHERE kind = 'copy' AND payload ->> 'store' = 'grid'").await;
    fails(&app, &copy, "store_unreachable", true).await;
    proxy.heal();
    let path = format!("/v1/saves/{}/verify", job["save_id"].as_str().unwrap());
    let verify = app.client.post(&path, json!({})).await.id();
    app.client.job_is(&verify, "succeeded").await;
    let again: String = app.value("SELECT id::text FROM jobs WHERE kind = 'copy' ORDER BY id DESC LIMIT 1").await;
    assert_ne!(again, copy, "a verification asks for it again");
    app.client.job_is(&again, "succeeded").await;
    app.holds().await;
    let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
    client.database(&app.database).drop().await.unwrap();
}
