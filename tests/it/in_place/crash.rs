//! The worker dies or freezes anywhere in a restore in place: the database is as it was or as it was saved, never between,
//! and the job says which.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::failpoint::NAMES;
use support::{Digest, Owned, Process, TargetSpec, WorkerSpec};

use super::{Scene, asides};
use crate::chaos::bench::{for_each, frozen, handed_on, killed, spec};

/// What the next worker makes of a job.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// It works through it once more.
    Again,
    /// It finds that nothing had happened.
    Not,
    /// It finds that it had happened.
    Done,
}

const SWAP: &[(&str, Then)] = &[
    ("safety.commit.before", Then::Again),
    ("safety.commit.after", Then::Again),
    ("restore.create.after", Then::Again),
    ("restore.tool.ended", Then::Again),
    ("journal.commit.before", Then::Again),
    ("journal.commit.after", Then::Not),
    ("swap.renamed", Then::Not),
    ("swap.commit.before", Then::Not),
    ("swap.commit.after", Then::Done),
];

#[test]
fn every_point_of_a_restore_in_place_has_its_kill() {
    let mine = |name: &&str| ["safety.", "journal.", "swap."].iter().any(|prefix| name.starts_with(prefix));
    let listed: BTreeSet<&str> = NAMES.iter().copied().filter(mine).collect();
    let here: BTreeSet<&str> = SWAP.iter().map(|(name, _)| *name).filter(mine).collect();
    assert_eq!(here, listed);
}

fn worker(scene: &Scene, name: &str, script: &str) -> WorkerSpec {
    spec(&scene.app, name, "default", script)
}

/// What must be true whatever happened: one of the two, and what the job says of it.
async fn decided(scene: &Scene, point: &str, job: &Value, then: Then) {
    let name = &scene.auction.database.name;
    let (state, digest, kept) = match then {
        Then::Not => ("failed", &scene.damaged, 0),
        Then::Again | Then::Done => ("succeeded", &scene.saved, 1),
    };
    assert_eq!(job["state"], state, "{point}: {job:#}");
    assert_eq!(&scene.auction.digest().await, digest, "{point}");
    let asides = asides(name).await;
    assert_eq!(asides.len(), kept, "{point}: {asides:?}");
    if let [kept] = asides.as_slice() {
        assert_eq!(job["result"]["kept"]["database"], *kept, "{point}: {job:#}");
        assert_eq!(Digest::of(kept).await, scene.damaged, "{point}");
    }
    match then {
        Then::Not => assert_eq!(job["error"]["code"], "swap_not_done", "{point}: {job:#}"),
        Then::Done => assert_eq!(job["result"]["resolved"], true, "{point}: {job:#}"),
        Then::Again => assert!(job["result"]["resolved"].is_null(), "{point}: {job:#}"),
    }
    let rows: i64 = scene.app.value("SELECT count(*) FROM kept_databases WHERE state = 'kept'").await;
    assert_eq!(usize::try_from(rows).unwrap(), kept, "{point}");
    let completed: i64 = scene.app.value("SELECT count(*) FROM outbox WHERE type = 'restore.completed'").await;
    assert_eq!(usize::try_from(completed).unwrap(), kept, "{point}");
}

#[tokio::test]
async fn a_worker_that_is_killed_anywhere_leaves_one_or_the_other() {
    for_each(SWAP, |(point, then)| async move {
        let scene = Scene::set().await;
        let job = scene.restore(json!({})).await;
        let _second = handed_on(&scene.app, &job, &format!("{point}=kill"), *then != Then::Again).await;
        let ended = scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
        decided(&scene, point, &ended, *then).await;
        scene.app.holds().await;
        scene
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_freezes_cannot_swap_what_was_given_up() {
    for_each(
        [("journal.commit.after", Then::Not), ("swap.renamed", Then::Not), ("swap.commit.before", Then::Not)],
        |(point, then)| async move {
            let scene = Scene::set().await;
            let job = scene.restore(json!({ "safety": false })).await;
            let mut first = scene.app.worker_starting(&worker(&scene, "a", &format!("{point}=freeze")));
            frozen(&scene.app, &mut first, point).await;
            let _second = scene.app.worker_with(&worker(&scene, "b", "")).await;
            let ended = scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
            decided(&scene, point, &ended, then).await;
            first.thaw();
            assert!(first.stop().await.success(), "{point}:\n{}", first.tail());
            assert_eq!(scene.auction.digest().await, scene.damaged, "{point}: it swapped after all");
            let now = scene.app.client.job(&job).await;
            assert_eq!(now, ended, "{point}");
            scene.app.holds().await;
            scene
        },
    )
    .await;
}

#[tokio::test]
async fn nothing_is_decided_while_the_server_cannot_be_seen() {
    let scene = Scene::set().await;
    let job = scene.restore(json!({ "safety": false })).await;
    let mut first = scene.app.worker_starting(&worker(&scene, "a", "swap.commit.after=kill"));
    killed(&mut first, "swap.commit.after").await;
    // The server is where nobody finds it.
    let port: i32 = scene.app.value("SELECT port FROM servers").await;
    scene.app.execute("UPDATE servers SET port = 1").await;
    let mut second: Process = scene.app.worker_with(&worker(&scene, "b", "")).await;
    second.says("the attempt failed").await;
    scene
        .app
        .client
        .job_until(&job, "queued for a third look", |job| {
            assert!(job["finished_at"].is_null(), "{job:#}");
            job["attempt"].as_i64() > Some(4) && job["state"] == "queued"
        })
        .await;
    scene.app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await.expect(409);
    scene.app.execute(&format!("UPDATE servers SET port = {port}")).await;
    let ended = scene.app.client.job_is(&job, "succeeded").await;
    decided(&scene, "server away", &ended, Then::Done).await;
    scene.app.holds().await;
}

#[tokio::test]
async fn an_undo_that_dies_is_done_or_not() {
    for_each([("swap.renamed", false), ("swap.commit.after", true)], |(point, done)| async move {
        let scene = Scene::set().await;
        let mut maker = scene.app.worker("maker").await;
        let restore = scene.restore(json!({ "safety": false })).await;
        scene.app.client.job_is(&restore, "succeeded").await;
        maker.stop().await;
        let undo = scene.undo(&restore).await;
        let _second = handed_on(&scene.app, &undo, &format!("{point}=kill"), false).await;
        let ended = scene.app.client.job_until(&undo, "ended", |job| job["finished_at"].is_string()).await;
        if done {
            assert_eq!(ended["state"], "succeeded", "{ended:#}");
            assert_eq!(scene.auction.digest().await, scene.damaged);
        } else {
            assert_eq!(ended["error"]["code"], "swap_not_done", "{ended:#}");
            assert_eq!(scene.auction.digest().await, scene.saved);
            // What was kept is kept still: the undo can be asked for again.
            let again = scene.undo(&restore).await;
            scene.app.client.job_is(&again, "succeeded").await;
            assert_eq!(scene.auction.digest().await, scene.damaged);
        }
        scene.app.holds().await;
        scene
    })
    .await;
}

#[tokio::test]
async fn a_direct_restore_that_dies_says_what_became_of_it() {
    let cases = [
        ("journal.commit.before", Then::Again),
        ("journal.commit.after", Then::Not),
        ("finish.commit.before", Then::Done),
    ];
    for_each(cases, |(point, then)| async move {
        let scene = Scene::set_after(async |_: &Owned, _: &mut TargetSpec| {}).await;
        let job = scene.restore(json!({ "method": "direct", "safety": false })).await;
        let _second = handed_on(&scene.app, &job, &format!("{point}=kill"), false).await;
        let ended = scene.app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
        if then == Then::Not {
            assert_eq!(ended["error"]["code"], "restore_not_done", "{point}: {ended:#}");
            assert_eq!(scene.auction.digest().await, scene.damaged, "{point}");
        } else {
            assert_eq!(ended["state"], "succeeded", "{point}: {ended:#}");
            assert_eq!(ended["result"]["resolved"] == true, then == Then::Done, "{point}: {ended:#}");
            scene.auction.without_later().await;
            assert_eq!(scene.auction.digest().await, scene.saved, "{point}");
        }
        scene.app.holds().await;
        scene
    })
    .await;
}
