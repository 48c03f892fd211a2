//! The worker dies anywhere in an import of plain SQL: the database is there whole, and its job says so, or nothing is.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use support::{App, Database, Digest, Process, WorkerSpec, database, stack};

use super::{BARE, dumped, import, last_job, nothing_is_left};
use crate::chaos::bench::killed;

/// Where it dies, and what the next worker says of the job. None: that it is done.
const POINTS: &[(&str, Option<&str>)] = &[
    ("restore.create.before", Some("upload_lost")),
    ("restore.create.after", Some("upload_lost")),
    ("restore.mark.after", Some("upload_lost")),
    ("import.plain.piece", Some("upload_lost")),
    ("import.plain.commit.before", Some("upload_lost")),
    ("import.plain.committed", Some("upload_lost")),
    ("journal.commit.before", Some("upload_lost")),
    ("journal.commit.after", Some("swap_not_done")),
    ("swap.commit.before", Some("swap_not_done")),
    ("swap.commit.after", None),
    ("finish.commit.before", None),
];

/// A worker that dies there.
async fn dying(app: &App, point: &str) -> Process {
    let envs = vec![("HOLDFAST_FAILPOINT".to_owned(), format!("{point}=kill"))];
    app.worker_with(&WorkerSpec { envs, ..WorkerSpec::named("first") }).await
}

#[tokio::test]
async fn a_worker_that_is_killed_anywhere_leaves_all_or_nothing() {
    let source = Database::small().await;
    let before = Digest::of(&source.name).await;
    let (source, before) = (&source, &before);
    let tried = stream::iter(POINTS).map(|(point, then)| async move {
        let mut app = App::spawn().await;
        let target = app.target(source).await;
        let good = std::fs::read(dumped(&app, &source.name, "small.sql", &BARE)).unwrap();
        let mut first = dying(&app, point).await;
        let copy = Database { name: stack::fresh("new") };
        let into = format!("?into={}", copy.name);
        let (answer, _second) = tokio::join!(import(&app, &target, &into, None, good), async {
            killed(&mut first, point).await;
            app.worker("second").await
        });
        let job = last_job(&app).await;
        if let Some(code) = then {
            assert_eq!((&job["state"], &job["error"]["code"]), (&json!("failed"), &json!(code)), "{point}: {job:#}");
            answer.expect(422);
            nothing_is_left(&app, &copy.name).await;
        } else {
            assert_eq!((&job["state"], &job["result"]["resolved"]), (&json!("succeeded"), &json!(true)), "{point}");
            assert_eq!(answer.expect(201)["job"]["id"], job["id"]);
            assert!(database::exists(&copy.name).await);
            assert_eq!(Digest::of(&copy.name).await.rows, before.rows, "{point}");
            let events: Vec<Value> = app.values("SELECT data FROM outbox WHERE type = 'import.completed'").await;
            assert_eq!(events.len(), 1, "{point}: {events:?}");
            copy.remove().await;
        }
        app.holds().await;
        app
    });
    // Taken down at the end alone: a DROP DATABASE waits for every login on the server.
    tried.buffered(3).collect::<Vec<_>>().await;
}
