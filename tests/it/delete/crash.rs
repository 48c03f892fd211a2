//! A worker is killed anywhere in a deletion: the next one ends it, and nothing of the save is left but its tombstone.

use futures_util::{StreamExt, stream};
use support::{App, WorkerSpec, invariants::remove_grid};

use crate::chaos::bench::{killed, source, spec, target};

/// Three objects in each of two stores.
const POINTS: &[&str] = &[
    "store.claim.before=kill",
    "store.discard.before=kill:1",
    "store.discard.after=kill:4",
    "store.delete.before=kill:2",
    "store.delete.after=kill:1",
    "store.delete.after=kill:6",
    "removal.commit.before=kill:1",
    "removal.commit.before=kill:5",
    "removal.commit.after=kill:1",
    "removal.commit.after=kill:6",
    "finish.commit.before=kill",
    "finish.commit.after=kill",
];

#[tokio::test]
async fn a_deletion_that_dies_anywhere_is_ended_by_the_next_worker() {
    let source = source().await;
    let mut app = App::spawn().await;
    let mut cases = Vec::new();
    for (n, script) in POINTS.iter().enumerate() {
        let group = format!("g{n}");
        cases.push((*script, target(&mut app, &source, &group, &["disk", "grid"]).await, group));
    }
    let groups = cases.iter().map(|(.., group)| group.clone()).collect();
    let mut maker = app.worker_with(&WorkerSpec { slots: 2, groups, ..spec(&app, "maker", "", "") }).await;
    let mut saves = Vec::new();
    for (_, target, _) in &cases {
        saves.push(app.backup(target).await);
    }
    for save in &mut saves {
        *save = app.client.job_is(save, "succeeded").await["save_id"].as_str().unwrap().to_owned();
    }
    maker.stop().await;
    let app = &app;
    stream::iter(cases.iter().zip(&saves))
        .for_each_concurrent(4, |((script, _, group), save)| async move {
            let job = app.client.delete(&format!("/v1/saves/{save}")).await.id();
            let mut first = app.worker_starting(&spec(app, &format!("{group}-a"), group, script));
            killed(&mut first, script).await;
            let before: String = app.value(&format!("SELECT state FROM saves WHERE id = '{save}'")).await;
            let ended = script.starts_with("finish.commit.after");
            assert_eq!(before, if ended { "deleted" } else { "deleting" }, "{script}");
            let _second = app.worker_with(&spec(app, &format!("{group}-b"), group, "")).await;
            app.client.job_is(&job, "succeeded").await;
            let left: Vec<String> = app
                .values(&format!(
                    "SELECT store || ' ' || part FROM save_objects WHERE save_id = '{save}' AND state <> 'deleted'"
                ))
                .await;
            assert_eq!(left, Vec::<String>::new(), "{script}");
            let told: i64 = app
                .value(&format!("SELECT count(*) FROM outbox WHERE type = 'save.deleted' AND subject = 'saves/{save}'"))
                .await;
            assert_eq!(told, 1, "{script}");
        })
        .await;
    app.holds().await;
    remove_grid(app).await;
}
