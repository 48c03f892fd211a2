//! Data sets: saves over services that are restored as one, or not at all.

mod crash;
mod half_way;
mod requests;

use serde_json::{Value, json};
use support::{App, Digest, Owned, Process, TargetSpec, WorkerSpec, until};

use crate::{
    chaos::bench::{frozen, spec},
    mongo::scene::{Contents, Shop},
};

/// A PostgreSQL and a MongoDB database of one installation, saved, put into a data set and damaged then.
struct Scene {
    app: App,
    auction: Owned,
    shop: Shop,
    /// The save of the auction and that of the shop.
    saves: [String; 2],
    set: String,
    saved: (Digest, Contents),
    damaged: (Digest, Contents),
}

impl Scene {
    async fn set() -> Self {
        Self::with_the_shop_in("default").await
    }

    /// The shop's jobs are for the workers of this group.
    async fn with_the_shop_in(group: &str) -> Self {
        let mut app = App::spawn().await;
        let (auction, shop) = (Owned::auction().await, Shop::open().await);
        shop.fill().await;
        let shops = TargetSpec { target: json!({ "worker_group": group }), ..shop.spec() };
        let targets = [app.target_with(&TargetSpec::of(&auction.database.name)).await, app.target_with(&shops).await];
        let groups = vec!["default".to_owned(), group.to_owned()];
        let mut worker = app.worker_with(&WorkerSpec { groups, ..WorkerSpec::named("saver") }).await;
        let saves = [app.saved(&targets[0]).await, app.saved(&targets[1]).await];
        worker.stop().await;
        let before = (auction.digest().await, shop.contents().await);
        auction.damage().await;
        shop.damage().await;
        let damaged = (auction.digest().await, shop.contents().await);
        let set = app.client.post("/v1/data-sets", json!({ "name": "demo", "saves": saves })).await.id();
        Self { app, auction, shop, saves, set, saved: before, damaged }
    }

    async fn now(&self) -> (Digest, Contents) {
        (self.auction.digest().await, self.shop.contents().await)
    }

    /// Asks for the restore. Its id.
    async fn restore(&self, more: Value) -> String {
        let mut body = json!({ "confirm": "demo", "safety": false });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key] = value.clone();
        }
        let path = format!("/v1/data-sets/{}/restore", self.set);
        let asked = self.app.client.post(&path, body).await.expect(202);
        named(&asked["group_id"])
    }
}

/// An id that stands in an answer.
fn named(id: &Value) -> String {
    id.as_str().map_or_else(|| panic!("no id: {id}"), ToOwned::to_owned)
}

/// A worker of the group "late".
async fn late(app: &App) -> Process {
    app.worker_with(&WorkerSpec { groups: vec!["late".to_owned()], ..WorkerSpec::named("late") }).await
}

/// One of the default group that stands still as soon as it has begun to fill a PostgreSQL database. Its job stays its own,
/// however long the others take.
async fn standing_still(app: &App, id: &str) -> Process {
    let point = "restore.tool.started";
    let spec = WorkerSpec { lease_s: 60.0, ..spec(app, "one", "default", &format!("{point}=freeze")) };
    let mut worker = app.worker_with(&spec).await;
    frozen(app, &mut worker, point).await;
    is(app, id, 1, "doing", "stage").await;
    is(app, id, 1, "job_state", "succeeded").await;
    worker
}

/// Waits until a member is like this.
async fn is(app: &App, id: &str, index: usize, key: &str, value: &str) {
    until(&format!("{key} of {index} is {value}"), || async {
        let shown = app.client.get(&format!("/v1/data-set-restores/{id}")).await.expect(200);
        (shown["members"][index][key] == value).then_some(())
    })
    .await;
}

/// The restore, as it is when it goes on no more.
async fn ended(app: &App, id: &str, state: &str) -> Value {
    let ended = until(&format!("the data set is {state}"), || async {
        let shown = app.client.get(&format!("/v1/data-set-restores/{id}?wait=1s")).await.expect(200);
        (!shown["finished_at"].is_null()).then_some(shown)
    })
    .await;
    assert_eq!(ended["state"], state, "{ended:#}");
    ended
}

/// The events of its restores, in their order.
async fn events(app: &App) -> Vec<String> {
    app.values("SELECT type FROM outbox WHERE type LIKE 'data\\_set.%' ORDER BY position").await
}
