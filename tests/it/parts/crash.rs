//! A worker that dies around the commit: the next one asks the server what became of the transaction, and says just that.

use serde_json::{Value, json};
use support::{App, Database, WorkerSpec, database::run};

use super::{digest, names, owned};

const CONTENT: &str = "CREATE TABLE lots (id serial PRIMARY KEY, x text); INSERT INTO lots (x) SELECT md5(g::text) FROM generate_series(1, 500) g";

/// Restores with a worker that dies at this point, and another one after it. The ended job, what the database was before
/// the restore, and what it is after.
async fn restored_by_two(point: &str, damage: &str, mode: &str) -> (Value, String, String, String) {
    let mut app = App::spawn().await;
    let source = Database::create(CONTENT).await;
    let first = app.worker("first").await;
    let target = app.target_with(&owned(&source.name)).await;
    let save = app.saved(&target).await;
    drop(first);
    let saved = digest(&source.name);
    run(&mut source.session().await, damage).await;
    let before = digest(&source.name);
    let envs = vec![("HOLDFAST_FAILPOINT".to_owned(), format!("{point}=kill"))];
    let mut dying = app.worker_with(&WorkerSpec { envs, ..WorkerSpec::named("dying") }).await;
    let body = json!({ "into": {}, "confirm": source.name, "safety": false, "mode": mode, "tables": names(&[("public", "lots")]) });
    let job = app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id();
    dying.ended().await;
    let _next = app.worker("next").await;
    let job = app.client.job_until(&job, "ended", |job| job["finished_at"].is_string()).await;
    let after = digest(&source.name);
    app.holds().await;
    (job, saved, before, after)
}

#[tokio::test]
async fn what_was_committed_is_a_success_and_not_done_again() {
    for (damage, mode) in [("UPDATE lots SET x = 'damaged'", "all"), ("TRUNCATE lots RESTART IDENTITY", "data")] {
        let (job, saved, _, after) = restored_by_two("restore.tool.ended", damage, mode).await;
        assert_eq!(job["state"], "succeeded", "{mode}: {job:#}");
        assert_eq!(job["result"]["resolved"], true, "{mode}: {job:#}");
        super::same(mode, &saved, &after);
    }
}

#[tokio::test]
async fn what_was_not_committed_left_everything_as_it_was() {
    for (damage, mode) in [("UPDATE lots SET x = 'damaged'", "all"), ("TRUNCATE lots RESTART IDENTITY", "data")] {
        let (job, _, before, after) = restored_by_two("journal.commit.after", damage, mode).await;
        assert_eq!(job["error"]["code"], "restore_not_done", "{mode}: {job:#}");
        super::same(mode, &before, &after);
    }
}

#[tokio::test]
async fn what_was_only_begun_is_done_by_the_next() {
    let (job, saved, _, after) = restored_by_two("restore.tool.started", "UPDATE lots SET x = 'damaged'", "all").await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    assert_eq!(job["attempt"], 2, "{job:#}");
    super::same("the content", &saved, &after);
}
