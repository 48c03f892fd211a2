//! What all tests of this kind stand on: workers with a failpoint in a group of their own, so that many share one
//! installation, and sources whose restored copies can be compared.

use std::os::unix::process::ExitStatusExt;

use futures_util::{StreamExt as _, stream};
use serde_json::json;
use support::{App, Database, Digest, Process, TargetSpec, WorkerSpec, digest::auction, until};

/// Scenes that are played at once.
const SCENES: usize = 3;

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

/// A worker takes the job and kills itself where `script` says, and another one comes, which is given. Past its point of no
/// return nobody cancels the job, whoever has it.
pub(crate) async fn handed_on(app: &App, job: &str, script: &str, is_past_return: bool) -> Process {
    let mut first = app.worker_starting(&spec(app, "a", "default", script));
    killed(&mut first, script).await;
    if is_past_return {
        app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await.expect(409);
    }
    app.worker_with(&spec(app, "b", "default", "")).await
}

/// Plays a scene of its own for each of these cases, some at once. The scenes are taken down at the end alone: a DROP DATABASE
/// waits for every login on the server, and would wait here for those of this very thread.
pub(crate) async fn for_each<C, F: Future>(cases: impl IntoIterator<Item = C>, play: impl FnMut(C) -> F) {
    drop(stream::iter(cases).map(play).buffered(SCENES).collect::<Vec<_>>().await);
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
