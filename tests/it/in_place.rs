//! Restores that replace a target's own database: it is either as it was or as it was saved, whatever happens.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod crash;
mod direct;
mod refused;
mod swap;
mod undo;

use std::sync::Arc;

use serde_json::{Value, json};
use support::{App, Digest, Owned, TargetSpec, database};

/// An installation with a worker-less target of an auction, saved once and damaged then.
struct Scene {
    app: App,
    auction: Arc<Owned>,
    save: String,
    /// What was saved, and what is there now.
    saved: Digest,
    damaged: Digest,
}

impl Scene {
    async fn set() -> Self {
        Self::set_after(async |_, _| {}).await
    }

    /// As [`Self::set`], with a target that was changed first.
    async fn set_after(change: impl AsyncFnOnce(&Owned, &mut TargetSpec)) -> Self {
        let mut app = App::spawn().await;
        let auction = Arc::new(Owned::auction().await);
        let mut spec = TargetSpec::of(&auction.database.name);
        change(&auction, &mut spec).await;
        let target = app.target_with(&spec).await;
        let saved = auction.digest().await;
        let mut worker = app.worker("saver").await;
        let save = app.saved(&target).await;
        worker.stop().await;
        auction.damage().await;
        let damaged = auction.digest().await;
        assert_ne!(saved, damaged);
        Self { app, auction, save, saved, damaged }
    }

    /// Asks for the restore. The job's id.
    async fn restore(&self, more: Value) -> String {
        let mut body = json!({ "into": {}, "confirm": self.auction.database.name });
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        self.app.client.post(&format!("/v1/saves/{}/restore", self.save), body).await.id()
    }

    async fn undo(&self, job: &str) -> String {
        let body = json!({ "confirm": self.auction.database.name });
        self.app.client.post(&format!("/v1/jobs/{job}/undo"), body).await.id()
    }
}

/// Databases of Holdfast's own making that stand on the server because of this one.
async fn asides(database: &str) -> Vec<String> {
    let sql = "SELECT datname::text FROM pg_database WHERE datname LIKE left($1, 18) || '%' AND datname LIKE '%\\_\\_hf\\_%' ORDER BY 1";
    sqlx::query_scalar(sql).bind(database).fetch_all(&mut database::connect("postgres").await).await.unwrap()
}
