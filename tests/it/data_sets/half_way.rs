//! Where one of them cannot be restored: before the swaps nothing changes; at the swaps those before it go back; and where they
//! cannot go back either, it is said so and a person decides.

use serde_json::json;
use support::{App, Database, Digest, Owned, Process, TargetSpec, database, stack, until};

use super::{Scene, ended, events, is, late, named, standing_still};

/// Keeps a database where it is: nobody can rename what a subscription is in.
struct Tie(String);

impl Tie {
    async fn on(database: &Database) -> Self {
        let name = stack::fresh("sub");
        let sql = format!(
            "CREATE SUBSCRIPTION {name} CONNECTION 'host=127.0.0.1 port=1 dbname=x' PUBLICATION p WITH (connect = false)"
        );
        database::run(&mut database.session().await, &sql).await;
        Self(name)
    }

    async fn cut(self, database: &Database) {
        let Self(name) = self;
        let mut session = database.session().await;
        for sql in ["DISABLE", "SET (slot_name = NONE)"] {
            database::run(&mut session, &format!("ALTER SUBSCRIPTION {name} {sql}")).await;
        }
        database::run(&mut session, &format!("DROP SUBSCRIPTION {name}")).await;
    }
}

/// Two PostgreSQL databases, of which the second is worked on by another group's worker.
struct Two {
    app: App,
    one: Owned,
    other: Owned,
    set: String,
    saved: (Digest, Digest),
}

impl Two {
    async fn set() -> Self {
        let mut app = App::spawn().await;
        let (one, other) = (Owned::auction().await, Owned::auction().await);
        let first = app.target_with(&TargetSpec::of(&one.database.name)).await;
        let target = json!({ "worker_group": "late" });
        let second = app.target_with(&TargetSpec { target, ..TargetSpec::of(&other.database.name) }).await;
        let mut workers = [app.worker("saver").await, late(&app).await];
        let saves = [app.saved(&first).await, app.saved(&second).await];
        for worker in &mut workers {
            worker.stop().await;
        }
        let set = app.client.post("/v1/data-sets", json!({ "name": "demo", "saves": saves })).await.id();
        let before = (one.digest().await, other.digest().await);
        one.damage().await;
        other.damage().await;
        Self { app, one, other, set, saved: before }
    }
}

#[tokio::test]
async fn one_that_would_fail_leaves_all_as_they_were() {
    let scene = Scene::set().await;
    let tie = Tie::on(&scene.auction.database).await;
    let _worker = scene.app.worker("one").await;
    let id = scene.restore(json!({})).await;
    let failed = ended(&scene.app, &id, "failed").await;
    assert_eq!(failed["problem"]["code"], "subscriptions", "{failed:#}");
    let jobs: i64 = scene.app.value("SELECT count(*) FROM jobs WHERE kind IN ('restore', 'undo')").await;
    assert_eq!(jobs, 0, "nothing was begun");
    tie.cut(&scene.auction.database).await;
    assert!(scene.now().await == scene.damaged);
    assert_eq!(events(&scene.app).await, ["data_set.failed"]);
    scene.app.holds().await;
}

#[tokio::test]
async fn one_that_cannot_be_staged_takes_what_the_others_have_made_with_it() {
    let scene = Scene::with_the_shop_in("late").await;
    let _late = late(&scene.app).await;
    let id = scene.restore(json!({})).await;
    let worker = standing_still(&scene.app, &id).await;
    assert!(!scene.shop.asides().await.is_empty(), "it waits beside its database");
    let job: String = scene.app.value("SELECT id::text FROM jobs WHERE kind = 'restore' AND state = 'running'").await;
    scene.app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await.expect(202);
    worker.thaw();
    let failed = ended(&scene.app, &id, "failed").await;
    assert_eq!(failed["problem"]["code"], "cancelled", "{failed:#}");
    until("what waited is gone", || async { scene.shop.asides().await.is_empty().then_some(()) }).await;
    assert!(scene.now().await == scene.damaged);
    scene.app.holds().await;
}

/// A restore of both, of which the second is staged, and its worker gone; the first is staged and swapped in.
async fn with_one_swapped(two: &Two, worker: &mut Option<Process>) -> String {
    let mut other = late(&two.app).await;
    let path = format!("/v1/data-sets/{}/restore", two.set);
    let asked = two.app.client.post(&path, json!({ "confirm": "demo" })).await.expect(202);
    let id = named(&asked["group_id"]);
    let one = worker.insert(standing_still(&two.app, &id).await);
    other.stop().await;
    one.thaw();
    is(&two.app, &id, 0, "state", "swapped").await;
    is(&two.app, &id, 1, "doing", "swap").await;
    id
}

#[tokio::test]
async fn where_there_is_no_way_on_nor_back_a_person_decides() {
    let two = Two::set().await;
    let client = &two.app.client;
    let damaged = (two.one.digest().await, two.other.digest().await);
    let mut worker = None;
    let id = with_one_swapped(&two, &mut worker).await;
    let ties = (Tie::on(&two.one.database).await, Tie::on(&two.other.database).await);
    let _other = late(&two.app).await;
    let half = ended(&two.app, &id, "partly_swapped").await;
    assert_eq!(half["may"], json!({ "resume": true, "undo": true }), "{half:#}");
    let states: Vec<_> = half["members"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["swapped", "staged"], "{half:#}");
    assert_eq!(half["problem"]["code"], "database_tied", "{half:#}");
    assert_eq!(events(&two.app).await, ["data_set.partly_swapped"]);
    client.delete(&format!("/v1/data-sets/{}", two.set)).await.expect(409);

    // Still tied: it is half way again, and nothing is lost.
    let resume = format!("/v1/data-set-restores/{id}/resume");
    client.post(&resume, json!({ "confirm": "demo" })).await.expect(202);
    ended(&two.app, &id, "partly_swapped").await;
    // What was in the way of the second is gone.
    ties.1.cut(&two.other.database).await;
    client.post(&resume, json!({ "confirm": "demo" })).await.expect(202);
    ended(&two.app, &id, "succeeded").await;
    ties.0.cut(&two.one.database).await;
    assert!((two.one.digest().await, two.other.digest().await) == two.saved, "both are as they were saved");
    client.post(&format!("/v1/data-set-restores/{id}/undo"), json!({ "confirm": "demo" })).await.expect(202);
    ended(&two.app, &id, "undone").await;
    assert!((two.one.digest().await, two.other.digest().await) == damaged);
    two.app.holds().await;
}

#[tokio::test]
async fn where_one_cannot_be_swapped_those_before_it_go_back() {
    let two = Two::set().await;
    let damaged = (two.one.digest().await, two.other.digest().await);
    let mut worker = None;
    let id = with_one_swapped(&two, &mut worker).await;
    let tie = Tie::on(&two.other.database).await;
    let _other = late(&two.app).await;
    let undone = ended(&two.app, &id, "undone").await;
    assert_eq!(undone["problem"]["code"], "database_tied", "why it was undone: {undone:#}");
    tie.cut(&two.other.database).await;
    assert!((two.one.digest().await, two.other.digest().await) == damaged);
    assert_eq!(events(&two.app).await, ["data_set.undone"]);
    two.app.holds().await;
}
