//! Objects that are damaged in their stores, one restore for each: all are found, and no database comes of any.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::TryStreamExt;
use mongodb::{
    Collection,
    bson::{Binary, Document, doc, spec::BinarySubtype},
};
use serde_json::json;
use support::{
    App, Database, Digest, TargetSpec, WorkerSpec, database,
    digest::{self, auction},
    invariants::{self, remove_grid},
    stack,
};
use tokio::{task::JoinSet, time::Instant};

use super::{Line, Plan, Rng};
use crate::{chaos::bench::spec, encrypted::Key, engine::one_attempt};

/// So many objects are damaged and restored side by side.
const TOGETHER: u64 = 4;

/// A store whose objects are encrypted.
const SEALED: &str = "sealed";

/// What is done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Flip,
    Truncate,
    Swap,
    Splice,
}

pub(super) async fn all(plan: &Plan) -> Vec<Line> {
    let mut app = App::spawn_for_hours().await;
    one_attempt(&app).await;
    let source = Database::create(&auction(3, 9_000)).await;
    let before = Digest::of(&source.name).await;
    let worker = spec(&app, "restorer", "default", "");
    // As `disk`, but encrypted.
    let key = Key::new(&app, "age.key");
    let root = app.dir.path().join(SEALED);
    std::fs::create_dir(&root).unwrap();
    let more = format!(
        "[stores.{SEALED}]\nkind = \"file\"\nroot = \"{}\"\n[stores.{SEALED}.encryption]\nrecipients = [{:?}]\nidentity_file = \"{}\"\n",
        root.display(),
        key.recipient,
        key.file.display()
    );
    let _worker = app.worker_with(&WorkerSpec { slots: 4, lease_s: 20.0, more, ..worker }).await;
    let mut objects = Vec::new();
    for n in 0..TOGETHER {
        // A second save of the same data is what the bytes of a splice come from.
        let store = ["disk", SEALED, "disk", "grid"][usize::try_from(n % 4).unwrap()];
        let server = json!({ "max_jobs": 8 });
        let target = TargetSpec { server, target: json!({ "stores": [store] }), ..TargetSpec::of(&source.name) };
        let target = app.target_with(&target).await;
        let save = app.saved(&target).await;
        let other = app.saved(&target).await;
        objects.push(Object::of(&app, &save, &other, store).await);
    }
    let (app, objects) = (Arc::new(app), objects.into_iter().map(Arc::new).collect::<Vec<_>>());
    let mut lines = Vec::new();
    for (harm, what, runs, percent) in [
        (Harm::Flip, "single bits flipped in stored objects", plan.flips, 60),
        (Harm::Truncate, "stored objects cut short", plan.truncations, 20),
        (Harm::Swap, "blocks of an object swapped", plan.swaps, 10),
        (Harm::Splice, "bytes of another save spliced in", plan.splices, 10),
    ] {
        let began = Instant::now();
        let mut running = JoinSet::new();
        for (n, object) in objects.iter().enumerate() {
            let n = u64::try_from(n).unwrap();
            let share = runs / TOGETHER + u64::from(n < runs % TOGETHER);
            let rng = Rng::new(plan.seed ^ (n << 32) ^ (harm as u64));
            let until = plan.minutes.map(|minutes| began + Duration::from_secs(minutes * 60 * percent / 100));
            let (app, object) = (Arc::clone(&app), Arc::clone(object));
            running.spawn(harmed(app, object, harm, share, until, rng, Line::new(what, share)));
        }
        let mut line = Line::new(what, 0);
        while let Some(done) = running.join_next().await {
            match done {
                Ok(done) => line.add(done),
                Err(error) => line.violations.push(format!("a lane ended: {error}")),
            }
        }
        line.runs = line.jobs;
        if Digest::of(&source.name).await != before {
            line.violations.push("the source was changed".to_owned());
        }
        line.seconds = began.elapsed().as_secs_f64();
        lines.push(line);
    }
    // What was refused was the damage: undone, each restores.
    for object in &objects {
        let wanted = stack::fresh("new");
        let job = app.restore(&object.save, &wanted).await;
        app.client.job_is(&job, "succeeded").await;
        database::remove(&wanted).await;
    }
    lines.last_mut().unwrap().violations.extend(invariants::broken(&app).await);
    remove_grid(&app).await;
    source.remove().await;
    lines
}

/// `until`: no more of it after this moment; the line says how many it were.
async fn harmed(
    app: Arc<App>,
    object: Arc<Object>,
    harm: Harm,
    runs: u64,
    until: Option<Instant>,
    mut rng: Rng,
    mut line: Line,
) -> Line {
    for run in 1..=runs {
        if until.is_some_and(|until| Instant::now() > until) {
            break;
        }
        let damaged = loop {
            let damaged = harm.done_to(&object.whole, &object.other, &mut rng);
            if damaged != object.whole {
                break damaged;
            }
        };
        object.put(&damaged).await;
        let wanted = stack::fresh("new");
        let job = app.restore(&object.save, &wanted).await;
        let job = app.client.job_until(&job, "over", |job| job["finished_at"].is_string()).await;
        let code = job["error"]["code"].as_str().unwrap_or_default();
        line.ended(&format!("restore {}: {code}", job["state"].as_str().unwrap()), 1);
        line.hit(&format!("in {}", object.store));
        if job["state"] != "failed" || code != "object_corrupt" {
            line.violations.push(format!("{harm:?}, run {run} in {}: {job}", object.store));
        }
        let left = digest::named(&job["id"].as_str().unwrap().replace('-', "")).await;
        if !left.is_empty() || database::exists(&wanted).await {
            line.violations.push(format!("{harm:?}, run {run}: a database came of it, {wanted} {left:?}"));
        }
        line.jobs += 1;
        let epoch = format!("SELECT epoch FROM jobs WHERE id = '{}'", job["id"].as_str().unwrap());
        line.epochs += app.value::<i64>(&epoch).await.unsigned_abs();
        if run % 50 == 0 {
            line.progress(run, runs);
        }
    }
    object.put(&object.whole).await;
    line
}

impl Harm {
    fn done_to(self, whole: &[u8], other: &[u8], rng: &mut Rng) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        match self {
            Self::Flip => {
                let at = rng.below(bytes.len());
                bytes[at] ^= 1 << rng.below(8);
            }
            Self::Truncate => {
                // Every third at an edge of the blocks that bytes travel in, where a cut shows least.
                let edges = bytes.len().div_ceil(1 << 20);
                let left = if rng.below(3) == 0 { rng.below(edges) << 20 } else { rng.below(bytes.len()) };
                bytes.truncate(left);
            }
            Self::Swap => {
                let size = [512, 4096, 65536][rng.below(3)];
                let blocks = bytes.len() / size;
                let (a, b) = (rng.below(blocks) * size, rng.below(blocks) * size);
                for n in 0..size {
                    bytes.swap(a + n, b + n);
                }
            }
            Self::Splice => {
                let size = 1 + rng.below(65536);
                let at = rng.below(bytes.len().min(other.len()) - size);
                let from = if rng.below(2) == 0 { at } else { rng.below(other.len() - size) };
                bytes[at..at + size].copy_from_slice(&other[from..from + size]);
            }
        }
        bytes
    }
}

/// The dump of one save, where it lies.
struct Object {
    save: String,
    store: &'static str,
    whole: Vec<u8>,
    /// The dump of another save of the same target.
    other: Vec<u8>,
    path: PathBuf,
    chunks: Collection<Document>,
    files_id: String,
}

impl Object {
    async fn of(app: &App, save: &str, other: &str, store: &'static str) -> Self {
        let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
        let chunks = client.database(&app.database).collection("saves.chunks");
        let (path, files_id) = place(app, save, store).await;
        let mut this =
            Self { save: save.to_owned(), store, whole: Vec::new(), other: Vec::new(), path, chunks, files_id };
        this.whole = this.get(&this.path, &this.files_id).await;
        let (path, files_id) = place(app, other, store).await;
        this.other = this.get(&path, &files_id).await;
        assert!(this.whole.len() > 1 << 18, "too small to mean anything: {}", this.whole.len());
        assert!(this.other.len() > 1 << 17);
        this
    }

    async fn get(&self, path: &PathBuf, files_id: &str) -> Vec<u8> {
        if self.store != "grid" {
            return std::fs::read(path).unwrap();
        }
        let of_file = self.chunks.find(doc! { "files_id": files_id }).sort(doc! { "n": 1 });
        let parts: Vec<Document> = of_file.await.unwrap().try_collect().await.unwrap();
        parts.iter().flat_map(|part| part.get_binary_generic("data").unwrap().clone()).collect()
    }

    /// Puts other bytes in its place; the file document of `GridFS` stays, as damage does not ask it.
    async fn put(&self, bytes: &[u8]) {
        if self.store != "grid" {
            return std::fs::write(&self.path, bytes).unwrap();
        }
        self.chunks.delete_many(doc! { "files_id": &self.files_id }).await.unwrap();
        for (n, part) in bytes.chunks(1 << 20).enumerate() {
            let data = Binary { subtype: BinarySubtype::Generic, bytes: part.to_vec() };
            let n = i32::try_from(n).unwrap();
            self.chunks.insert_one(doc! { "files_id": &self.files_id, "n": n, "data": data }).await.unwrap();
        }
    }
}

async fn place(app: &App, save: &str, store: &str) -> (PathBuf, String) {
    let place: String = app
        .value(&format!(
            "SELECT key || ' ' || upload_ref FROM save_objects WHERE save_id = '{save}' AND part = 'dump.0001'"
        ))
        .await;
    let (key, upload) = place.split_once(' ').unwrap();
    let root = if store == SEALED { app.dir.path().join(SEALED) } else { app.store() };
    (root.join(key), upload.to_owned())
}
