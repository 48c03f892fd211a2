//! Slots that are not fired although somebody was there, and why.

use serde_json::json;
use support::{App, Database, WorkerSpec, until};

use super::{Of, nothing, reasons, schedule, scheduler, slots, slots_until};

#[tokio::test]
async fn a_paused_schedule_skips_and_goes_on_afterwards() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let schedule = schedule(&app, Of::Target(&target), "* * * * * *", json!({ "overlap": "queue" })).await;
    app.execute("UPDATE schedules SET paused_at = clock_timestamp()").await;
    let _worker = app.worker_with(&scheduler("a")).await;
    slots_until(&app, &schedule, "skipped", 2).await;
    let why = reasons(&app, &schedule, "skipped").await;
    assert!(why.len() == 1 && why[0].starts_with("the schedule is paused since 2"), "{why:?}");
    assert_eq!(slots(&app, &schedule, "ran").await, 0);
    app.execute("UPDATE schedules SET paused_at = NULL").await;
    slots_until(&app, &schedule, "ran", 2).await;
}

#[tokio::test]
async fn outside_of_its_windows_a_schedule_skips() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let hours = "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC' + n * interval '2 h', 'HH24:MI') FROM generate_series(-1, 2) n";
    let times: Vec<String> = app.values(hours).await;
    let windows =
        |from: &str, until: &str| json!({ "overlap": "queue", "windows": [{ "from": from, "until": until }] });
    let open = schedule(&app, Of::Target(&target), "* * * * * *", windows(&times[0], &times[2])).await;
    let closed = schedule(&app, Of::Target(&target), "* * * * * *", windows(&times[2], &times[3])).await;
    let _worker = app.worker_with(&scheduler("a")).await;
    slots_until(&app, &open, "ran", 2).await;
    slots_until(&app, &closed, "skipped", 2).await;
    assert_eq!(reasons(&app, &closed, "skipped").await, ["it is outside of the schedule's windows"]);
    assert_eq!((slots(&app, &closed, "ran").await, slots(&app, &open, "skipped").await), (0, 0));
}

#[tokio::test]
async fn while_a_dump_goes_on_slots_are_skipped_or_queued_as_the_schedule_says() {
    let databases = [Database::small().await, Database::small().await];
    let mut app = App::spawn().await;
    let holds = [databases[0].hold("lots").await, databases[1].hold("lots").await];
    let targets = [app.target(&databases[0]).await, app.target(&databases[1]).await];
    let _worker = app.worker_with(&WorkerSpec { slots: 4, ..WorkerSpec::named("a") }).await;
    let skips = schedule(&app, Of::Target(&targets[0]), "* * * * * *", nothing()).await;
    let queues = schedule(&app, Of::Target(&targets[1]), "* * * * * *", json!({ "overlap": "queue" })).await;
    slots_until(&app, &skips, "ran", 1).await;
    slots_until(&app, &skips, "skipped", 3).await;
    slots_until(&app, &queues, "ran", 3).await;
    assert_eq!(slots(&app, &skips, "ran").await, 1);
    assert_eq!(reasons(&app, &skips, "skipped").await, ["the jobs of the slot before have not ended"]);
    assert_eq!(slots(&app, &queues, "skipped").await, 0);
    app.execute(&format!("UPDATE schedules SET paused_at = clock_timestamp() WHERE id = '{queues}'")).await;
    for hold in holds {
        hold.release().await;
    }
    slots_until(&app, &skips, "ran", 2).await;
    super::pause(&app).await;
    super::idle(&app).await;
    app.holds().await;
}

#[tokio::test]
async fn where_there_is_nothing_to_save_the_slot_says_so() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let empty = app.client.post("/v1/services", json!({ "name": "empty" })).await.id();
    let nobody = schedule(&app, Of::Service(&empty), "* * * * * *", nothing()).await;
    let elsewhere = schedule(&app, Of::Target(&target), "* * * * * *", json!({ "stores": ["grid"] })).await;
    let _worker = app.worker_with(&scheduler("a")).await;
    slots_until(&app, &nobody, "skipped", 1).await;
    slots_until(&app, &elsewhere, "skipped", 1).await;
    assert_eq!(reasons(&app, &nobody, "skipped").await, ["the service has no target: there is nothing to save"]);
    let why = reasons(&app, &elsewhere, "skipped").await;
    assert!(why.len() == 1 && why[0].contains("store \"grid\" is not one of the target's stores (disk)"), "{why:?}");
    let jobs: i64 = app.value("SELECT count(*) FROM jobs").await;
    assert_eq!(jobs, 0);
}

#[tokio::test]
async fn what_is_deleted_is_not_fired_and_what_cannot_be_read_stops_nobody() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let (deleted, gone) = (
        schedule(&app, Of::Target(&target), "* * * * * *", nothing()).await,
        schedule(&app, Of::Target(&target), "* * * * * *", nothing()).await,
    );
    let broken = schedule(&app, Of::Target(&target), "every night", nothing()).await;
    // One with a slot that is due, as of a schedule that was deleted between its planning and its time.
    app.execute(&format!(
        "UPDATE schedules SET deleted_at = clock_timestamp() WHERE id IN ('{deleted}', '{gone}');
         INSERT INTO schedule_slots (id, schedule_id, at, fires_at)
         SELECT gen_random_uuid(), '{deleted}', now, now FROM clock_timestamp() AS now"
    ))
    .await;
    let fine = schedule(&app, Of::Target(&target), "* * * * * *", json!({ "overlap": "queue" })).await;
    let _worker = app.worker_with(&scheduler("a")).await;
    slots_until(&app, &fine, "ran", 3).await;
    assert_eq!(reasons(&app, &deleted, "skipped").await, ["the schedule was deleted"]);
    for schedule in [&gone, &broken] {
        let any: i64 =
            app.value(&format!("SELECT count(*) FROM schedule_slots WHERE schedule_id = '{schedule}'")).await;
        assert_eq!(any, 0);
    }
    let others: i64 = app.value(&format!("SELECT count(*) FROM saves WHERE schedule_id <> '{fine}'")).await;
    assert_eq!(others, 0);
    until("the one that cannot be read is told of", || async { app.logs().contains(&broken).then_some(()) }).await;
}
