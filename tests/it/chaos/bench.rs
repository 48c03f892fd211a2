//! What all tests of this kind stand on: workers with a failpoint in a group of their own, so that many share one
//! installation, and sources whose restored copies can be compared.

use std::os::unix::process::ExitStatusExt;

use serde_json::json;
use support::{App, Database, Digest, Process, TargetSpec, WorkerSpec, digest::auction, until};

/// A worker of this group with short times, that dies or freezes where `script` says; empty: nowhere.
pub(crate) fn spec(app: &App, name: &str, group: &str, script: &str) -> WorkerSpec {
    let log = app.dir.path().join("failpoints.txt");
    let mut envs = vec![("HOLDFAST_FAILPOINT_LOG".to_owned(), log.to_str().unwrap().to_owned())];
    if !script.is_empty() {
        envs.push(("HOLDFAST_FAILPOINT".to_owned(), script.to_owned()));
    }
    WorkerSpec {
        groups: vec![group.to_owned()],
        slots: 1,
        lease_s: 3.0,
        beat_s: 0.6,
        sweep_s: 0.3,
        poll_s: 0.3,
        envs,
        ..WorkerSpec::named(name)
    }
}

/// What was passed in this installation so far, as `NAME pass|kill|freeze`.
pub(crate) fn passed(app: &App) -> Vec<String> {
    let log = std::fs::read_to_string(app.dir.path().join("failpoints.txt")).unwrap_or_default();
    log.lines().map(ToOwned::to_owned).collect()
}

/// Waits until the worker has killed itself.
pub(crate) async fn killed(worker: &mut Process, point: &str) {
    let status = worker.ended().await;
    assert_eq!(status.signal(), Some(9), "at {point} it ended by itself:\n{}", worker.tail());
}

/// Waits until the worker has frozen itself at this point.
pub(crate) async fn frozen(app: &App, worker: &mut Process, point: &str) {
    until(&format!("it freezes at {point}"), || async {
        passed(app).contains(&format!("{point} freeze")).then_some(())
    })
    .await;
    assert!(!worker.has_ended(), "at {point} it ended:\n{}", worker.tail());
}

/// A small database that dumps and restores quickly.
pub(crate) async fn source() -> Database {
    Database::create(&auction(7, 200)).await
}

/// A target of this source for the workers of one group, in these stores.
pub(crate) async fn target(app: &mut App, source: &Database, group: &str, stores: &[&str]) -> String {
    let target = json!({ "worker_group": group, "stores": stores });
    let server = json!({ "max_jobs": 32 });
    app.target_with(&TargetSpec { target, server, ..TargetSpec::of(&source.name) }).await
}

/// Rows and sequences of both are the same. Owners and privileges are not compared: restores into new databases are
/// asked for without them.
pub(crate) async fn same_rows(source: &str, restored: &str) {
    let (source, restored) = (Digest::of(source).await, Digest::of(restored).await);
    assert_eq!((source.rows, source.sequences), (restored.rows, restored.sequences));
}
