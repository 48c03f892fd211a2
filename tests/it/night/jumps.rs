//! When the clock jumps by an hour, nothing fires twice and nothing is lost.

use serde_json::json;
use support::{App, Database, until};

use super::{Of, schedule, scheduler, slots, slots_until};

/// The slots of the schedule that ran, as `HH:MM:SS`.
async fn ran(app: &App, schedule: &str) -> Vec<String> {
    app.values(&format!(
        "SELECT to_char(at AT TIME ZONE 'UTC', 'HH24:MI:SS') FROM schedule_slots WHERE schedule_id = '{schedule}' AND state = 'ran' ORDER BY at"
    ))
    .await
}

/// Waits until schedulers have worked for some seconds by the new time: one that is made now has fired so often.
async fn seconds_pass(app: &App, target: &str) {
    let other = schedule(app, Of::Target(target), "* * * * * *", json!({ "overlap": "queue" })).await;
    slots_until(app, &other, "ran", 4).await;
    app.execute(&format!("UPDATE schedules SET deleted_at = clock_timestamp() WHERE id = '{other}'")).await;
}

#[tokio::test]
async fn a_clock_that_jumps_fires_nothing_twice_and_loses_nothing() {
    let database = Database::small().await;
    let mut app = App::spawn_at("2031-05-05T09:00:00Z").await;
    let target = app.target(&database).await;
    let settings = json!({ "overlap": "queue", "catch_up": "all" });
    let hourly = schedule(&app, Of::Target(&target), "0 * * * *", settings).await;
    let _workers = (app.worker_with(&scheduler("a")).await, app.worker_with(&scheduler("b")).await);
    seconds_pass(&app, &target).await;
    app.time_is("2031-05-05T10:00:00Z").await;
    slots_until(&app, &hourly, "ran", 1).await;
    // An hour back, and ten o'clock comes once more.
    app.time_is("2031-05-05T09:00:00Z").await;
    seconds_pass(&app, &target).await;
    app.time_is("2031-05-05T09:59:59Z").await;
    seconds_pass(&app, &target).await;
    assert_eq!(ran(&app, &hourly).await, ["10:00:00"]);
    // An hour on: eleven o'clock is now.
    app.time_is("2031-05-05T11:00:00Z").await;
    slots_until(&app, &hourly, "ran", 2).await;
    // Over noon, and back before it.
    app.time_is("2031-05-05T12:40:00Z").await;
    slots_until(&app, &hourly, "ran", 3).await;
    app.time_is("2031-05-05T11:40:00Z").await;
    seconds_pass(&app, &target).await;
    app.time_is("2031-05-05T11:59:59Z").await;
    seconds_pass(&app, &target).await;
    assert_eq!(ran(&app, &hourly).await, ["10:00:00", "11:00:00", "12:00:00"]);
    assert_eq!((slots(&app, &hourly, "missed").await, slots(&app, &hourly, "skipped").await), (0, 0));

    // Even if the plan itself were lost, a moment has one slot.
    app.execute(&format!(
        "UPDATE schedules SET planned_until = clock_timestamp() - interval '2 h 30 min' WHERE id = '{hourly}'"
    ))
    .await;
    until("it is planned again", || async {
        let sql = format!("SELECT planned_until > clock_timestamp() FROM schedules WHERE id = '{hourly}'");
        app.value::<bool>(&sql).await.then_some(())
    })
    .await;
    assert_eq!(ran(&app, &hourly).await, ["10:00:00", "11:00:00", "12:00:00"]);
    let saves: i64 = app.value(&format!("SELECT count(*) FROM saves WHERE schedule_id = '{hourly}'")).await;
    assert_eq!(saves, 3);
}
