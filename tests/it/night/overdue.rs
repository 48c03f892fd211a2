//! The dead man's switch: saves that do not come are told of, although nothing failed.

use support::{App, Database, Listener, WorkerSpec, until};

use super::{Of, event, nothing, pause, schedule};

#[tokio::test]
async fn what_is_not_saved_for_one_and_a_half_intervals_is_overdue_until_it_is() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let late = schedule(&app, Of::Target(&target), "0 0 * * *", nothing()).await;
    let young = schedule(&app, Of::Target(&target), "0 0 * * *", nothing()).await;
    let paused = schedule(&app, Of::Target(&target), "0 0 * * *", nothing()).await;
    app.execute(&format!(
        "UPDATE targets SET created_at = clock_timestamp() - interval '10 d';
         UPDATE schedules SET created_at = clock_timestamp() - interval '3 d', updated_at = clock_timestamp() - interval '3 d';
         UPDATE schedules SET created_at = clock_timestamp() - interval '1 d', updated_at = clock_timestamp() - interval '1 d' WHERE id = '{young}';
         UPDATE schedules SET paused_at = clock_timestamp() - interval '2 d' WHERE id = '{paused}'"
    ))
    .await;
    let listener = Listener::open().await;
    let worker = WorkerSpec { exchange: Some(listener.exchange.clone()), ..WorkerSpec::named("a") };
    let _workers = (app.worker_with(&worker).await, app.worker("b").await);
    let data = event(&listener, "backup.overdue").await;
    assert_eq!(
        (&data["schedule_id"], &data["targets"][0]["target_id"]),
        (&late.clone().into(), &target.clone().into())
    );
    let since: bool = app.value(&format!("SELECT overdue_at IS NOT NULL FROM schedules WHERE id = '{late}'")).await;
    assert!(since);
    // A save of somebody else's does not count.
    let save = app.saved(&target).await;
    let still: bool = app.value(&format!("SELECT overdue_at IS NOT NULL FROM schedules WHERE id = '{late}'")).await;
    assert!(still);
    app.execute(&format!("UPDATE saves SET schedule_id = '{late}' WHERE id = '{save}'")).await;
    let data = event(&listener, "backup.resumed").await;
    assert_eq!(data["schedule_id"], *late);
    until("it is taken back", || async {
        let over: bool = app.value(&format!("SELECT overdue_at IS NULL FROM schedules WHERE id = '{late}'")).await;
        over.then_some(())
    })
    .await;
    let told: Vec<_> = listener.heard().into_iter().filter(|heard| heard.routing_key == "backup.overdue").collect();
    assert_eq!(told.len(), 1, "it is told once, and of no other: {told:?}");
    pause(&app).await;
    listener.close().await;
    app.holds().await;
}
