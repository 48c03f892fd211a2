//! A worker freezes where it hurts most, others do its work, and it wakes up: nothing it does then counts, and nothing it
//! held has kept anybody waiting for ever.

use futures_util::{StreamExt, stream};
use support::{
    App, Database, Listener, WorkerSpec, database, digest,
    invariants::{events, remove_grid},
    stack,
};

use super::bench::{frozen, same_rows, source, spec, target};

/// In a backup. At some of these a transaction is open, and rows are locked.
const BACKUP: &[&str] = &[
    "claim.commit.before",
    "backup.name.before",
    "store.write.after",
    "store.commit.before",
    "store.commit.after",
    "finish.commit.before",
    "finish.commit.after",
];

/// In a restore into a new database.
const RESTORE: &[&str] =
    &["restore.create.before", "restore.create.after", "restore.tool.ended", "restore.publish.before"];

/// What a worker that has been woken up must not change any more.
async fn end_of(app: &App, job: &str) -> String {
    app.value(&format!(
        "SELECT concat_ws(' ', state, epoch, attempt, finished_at, result) FROM jobs WHERE id = '{job}'"
    ))
    .await
}

#[tokio::test]
async fn a_worker_frozen_in_a_backup_changes_nothing_when_it_wakes_up() {
    let source = source().await;
    let mut app = App::spawn().await;
    let mut cases = Vec::new();
    for (n, point) in BACKUP.iter().enumerate() {
        let group = format!("g{n}");
        cases.push((*point, target(&mut app, &source, &group, &["disk", "grid"]).await, group));
    }
    let app = &app;
    stream::iter(&cases)
        .for_each_concurrent(4, |(point, target, group)| async move {
            let job = app.backup(target).await;
            let mut first = app.worker_starting(&spec(app, &format!("{group}-a"), group, &format!("{point}=freeze")));
            frozen(app, &mut first, point).await;
            let second = app.worker_with(&spec(app, &format!("{group}-b"), group, "")).await;
            app.client.job_is(&job, "succeeded").await;
            let before = end_of(app, &job).await;
            first.thaw();
            assert!(first.stop().await.success(), "{point}:\n{}", first.tail());
            assert_eq!(end_of(app, &job).await, before, "{point}");
            drop(second);
        })
        .await;
    app.holds().await;
    remove_grid(app).await;
}

#[tokio::test]
async fn a_worker_frozen_in_a_restore_changes_nothing_when_it_wakes_up() {
    let source = source().await;
    let mut app = App::spawn().await;
    let mut cases = Vec::new();
    for (n, point) in RESTORE.iter().enumerate() {
        let group = format!("g{n}");
        cases.push((*point, target(&mut app, &source, &group, &["disk"]).await, group));
    }
    let groups = cases.iter().map(|(.., group)| group.clone()).collect();
    let mut maker = app.worker_with(&WorkerSpec { slots: 2, groups, ..spec(&app, "maker", "", "") }).await;
    let mut saves = Vec::new();
    for (_, target, _) in &cases {
        saves.push(app.saved(target).await);
    }
    maker.stop().await;
    let (app, name) = (&app, source.name.as_str());
    stream::iter(cases.iter().zip(&saves))
        .for_each_concurrent(4, |((point, _, group), save)| async move {
            let restored = Database { name: stack::fresh("new") };
            let job = app.restore(save, &restored.name).await;
            let mut first = app.worker_starting(&spec(app, &format!("{group}-a"), group, &format!("{point}=freeze")));
            frozen(app, &mut first, point).await;
            assert!(!database::exists(&restored.name).await, "{point}");
            let second = app.worker_with(&spec(app, &format!("{group}-b"), group, "")).await;
            app.client.job_is(&job, "succeeded").await;
            let before = end_of(app, &job).await;
            first.thaw();
            assert!(first.stop().await.success(), "{point}:\n{}", first.tail());
            assert_eq!(end_of(app, &job).await, before, "{point}");
            same_rows(name, &restored.name).await;
            assert_eq!(digest::named(&job.replace('-', "")).await, Vec::<String>::new(), "{point}");
            restored.remove().await;
            drop(second);
        })
        .await;
    app.holds().await;
}

#[tokio::test]
async fn a_frozen_relay_gives_way_to_another() {
    let source = source().await;
    let mut app = App::spawn().await;
    let listener = Listener::open().await;
    let target = target(&mut app, &source, "work", &["disk"]).await;
    let publishing = |spec: WorkerSpec| WorkerSpec { exchange: Some(listener.exchange.clone()), ..spec };
    let job = app.backup(&target).await;
    let mut first = app.worker_starting(&publishing(spec(&app, "first", "nobody", "relay.publish.before=freeze")));
    frozen(&app, &mut first, "relay.publish.before").await;
    let _second = app.worker_with(&publishing(spec(&app, "second", "work", ""))).await;
    app.client.job_is(&job, "succeeded").await;
    let heard = events::check(&app, &listener).await;
    assert!(heard.broken.is_empty(), "{:#?}", heard.broken);
    first.thaw();
    assert!(first.stop().await.success(), "{}", first.tail());
    let heard = events::check(&app, &listener).await;
    assert!(heard.broken.is_empty(), "after it woke up: {:#?}", heard.broken);
    app.holds().await;
    listener.close().await;
}
