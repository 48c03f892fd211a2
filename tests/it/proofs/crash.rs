//! Drills whose workers are killed: the next attempt, or the next drill, takes away what is left.

use serde_json::json;
use support::{App, Database, WorkerSpec};

use super::{ask, databases_of, drilling, verify};
use crate::chaos::bench::killed;

#[tokio::test]
async fn a_drill_that_dies_is_done_again_and_leaves_nothing() {
    let mut app = App::spawn().await;
    let source = Database::small().await;
    let mut first = app.worker_with(&drilling("one")).await;
    let target = app.target(&source).await;
    let save = app.saved(&target).await;
    first.stop().await;
    for cancelled in [false, true] {
        let envs = vec![("HOLDFAST_FAILPOINT".to_owned(), "restore.compare.before=kill".to_owned())];
        let spec = drilling(if cancelled { "dies-again" } else { "dies" });
        let mut dying = app.worker_with(&WorkerSpec { envs, lease_s: 3.0, beat_s: 0.6, ..spec }).await;
        let job = ask(&app, &save, "restore").await;
        killed(&mut dying, "restore.compare.before").await;
        let left = databases_of(&job).await;
        assert!(left.len() == 1 && left[0].starts_with("hf_drill_"), "{left:?}");
        if cancelled {
            app.client.post(&format!("/v1/jobs/{job}/cancel"), json!({})).await;
        }
        let mut next = app.worker_with(&drilling(if cancelled { "next-again" } else { "next" })).await;
        if cancelled {
            app.client.job_is(&job, "cancelled").await;
            assert_eq!(verify(&app, &save, "restore").await["verified"], true);
        } else {
            let done = app.client.job_is(&job, "succeeded").await;
            assert_eq!(done["result"]["verified"], true, "{done:#}");
        }
        assert_eq!(databases_of(&job).await, Vec::<String>::new());
        next.stop().await;
    }
    app.holds().await;
}
