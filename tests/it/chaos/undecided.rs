//! A worker dies at the point of no return: nobody touches the target before somebody has looked what became of it.

use serde_json::json;
use support::{App, Owned, TargetSpec};

use super::bench::{killed, spec};

#[tokio::test]
async fn a_target_waits_for_what_is_undecided_on_it() {
    let mut app = App::spawn().await;
    let auction = Owned::auction().await;
    let name = &auction.database.name;
    let target = app.target_with(&TargetSpec::of(name)).await;
    let mut first = app.worker_with(&spec(&app, "first", "default", "")).await;
    let save = app.saved(&target).await;
    first.stop().await;

    let body = json!({ "into": {}, "confirm": name, "safety": false });
    let restore = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    let mut dying = app.worker_starting(&spec(&app, "dying", "default", "journal.commit.after=kill"));
    killed(&mut dying, "journal.commit.after").await;
    // More urgent, and there before the lease is over: without the rule it would be next.
    let urgent = json!({ "mode": "all", "priority": 9 });
    let backup = app.client.post(&format!("/v1/targets/{target}/backups"), urgent).await.id();
    let _next = app.worker_with(&spec(&app, "next", "default", "")).await;
    app.client.job_is(&backup, "succeeded").await;
    let decided = app.client.job(&restore).await;
    assert_eq!(decided["error"]["code"], "swap_not_done", "{decided:#}");
    let sql = format!(
        "SELECT (SELECT finished_at FROM jobs WHERE id = '{restore}') <= (SELECT started_at FROM jobs WHERE id = '{backup}')"
    );
    assert!(app.value::<bool>(&sql).await, "the backup began before the restore was decided");
    app.holds().await;
}
