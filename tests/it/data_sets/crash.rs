//! The worker dies anywhere in the restore of a data set: the next one, or the sweep, brings it to its end.

use futures_util::{StreamExt, stream};
use serde_json::json;

use super::{Scene, ended, events};
use crate::chaos::bench::{killed, spec};

const POINTS: &[&str] = &[
    "data_set.commit.before=kill",
    "data_set.commit.before=kill:3",
    "data_set.commit.after=kill:2",
    "data_set.commit.after=kill:4",
    "journal.commit.after=kill",
    "journal.commit.after=kill:2",
    "swap.renamed=kill",
    "swap.commit.after=kill",
    "swap.commit.after=kill:2",
    "mongo.staged=kill",
    "mongo.rename.after=kill:3",
    "finish.commit.before=kill:4",
    "finish.commit.after=kill:5",
];

#[tokio::test]
async fn a_worker_that_is_killed_anywhere_is_followed_by_one_that_ends_it() {
    stream::iter(POINTS)
        .map(|point| async move {
            let scene = Scene::set().await;
            let id = scene.restore(json!({})).await;
            let mut first = scene.app.worker_starting(&spec(&scene.app, "a", "default", point));
            killed(&mut first, point).await;
            let second = scene.app.worker_with(&spec(&scene.app, "b", "default", "")).await;
            let done = ended(&scene.app, &id, "succeeded").await;
            assert!(scene.now().await == scene.saved, "{point}: {done:#}");
            assert_eq!(events(&scene.app).await, ["data_set.restored"], "{point}");
            let kept: i64 = scene.app.value("SELECT count(*) FROM kept_databases WHERE state = 'kept'").await;
            assert_eq!(kept, 2, "{point}: what made way, and nothing that waits");
            scene.app.holds().await;
            drop(second);
            // A server drops a database when each of its sessions has heard of it, also those that this thread is opening.
            tokio::task::spawn_blocking(move || drop(scene)).await.unwrap();
        })
        .buffer_unordered(3)
        .collect::<()>()
        .await;
}
