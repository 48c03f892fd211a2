//! Who gets which job, and when.

use support::{App, Database};

#[tokio::test]
async fn a_backup_runs_once_and_all_promises_hold_after_it() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let worker = app.worker("a").await;
    let job = app.backup(&target).await;
    let done = app.client.job_is(&job, "succeeded").await;
    assert_eq!(done["attempt"], 1, "{done:#}");
    assert_eq!(app.history(&job).await, ["queued", "running", "succeeded"]);
    assert!(worker.descendants().is_empty(), "{:?}", worker.descendants());
    app.holds().await;
}
