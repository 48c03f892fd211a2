//! After a time in which nobody ran.

use serde_json::json;
use support::{App, Database, Listener, WorkerSpec};

use super::{Of, event, reasons, schedule, scheduler, slots, slots_until};

/// Every hour, half an hour ago for the last time.
async fn hourly(app: &App) -> String {
    app.value("SELECT to_char(clock_timestamp() + interval '30 min', 'FMMI * * * *')").await
}

#[tokio::test]
async fn after_a_downtime_slots_are_made_up_for_or_missed_as_the_schedule_says() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let expression = hourly(&app).await;
    let mut schedules = Vec::new();
    for catch_up in ["none", "last", "all"] {
        let settings = json!({ "catch_up": catch_up });
        schedules.push(schedule(&app, Of::Target(&target), &expression, settings).await);
    }
    app.execute("UPDATE schedules SET planned_until = clock_timestamp() - interval '3 h'").await;
    let listener = Listener::open().await;
    let worker = WorkerSpec { exchange: Some(listener.exchange.clone()), ..scheduler("a") };
    let _worker = app.worker_with(&worker).await;
    for (schedule, (ran, missed)) in schedules.iter().zip([(0, 3), (1, 2), (3, 0)]) {
        slots_until(&app, schedule, "planned", 1).await;
        assert_eq!((slots(&app, schedule, "ran").await, slots(&app, schedule, "missed").await), (ran, missed));
    }
    assert_eq!(
        reasons(&app, &schedules[0], "missed").await,
        ["no scheduler ran at its time, and the schedule makes up for nothing"]
    );
    assert_eq!(
        reasons(&app, &schedules[1], "missed").await,
        ["no scheduler ran at its time, and a later one stands for it"]
    );
    let last: bool = app
        .value(&format!(
            "SELECT state = 'ran' FROM schedule_slots WHERE schedule_id = '{}' AND state <> 'planned' ORDER BY at DESC LIMIT 1",
            schedules[1]
        ))
        .await;
    assert!(last, "the latest one is made up for");
    event(&listener, "slot.missed").await;
    let told = support::until("both are told of", || async {
        let heard = listener.heard();
        let told: Vec<_> = heard.into_iter().filter(|heard| heard.routing_key == "slot.missed").collect();
        (told.len() == 2).then_some(told)
    })
    .await;
    for (schedule, count) in [(&schedules[0], 3), (&schedules[1], 2)] {
        let data = told.iter().map(|told| &told.body["data"]).find(|data| data["schedule_id"] == **schedule).unwrap();
        assert_eq!(
            (data["count"].as_i64(), data["slots"].as_array().unwrap().len()),
            (Some(count), usize::try_from(count).unwrap())
        );
        assert!(data["slots"][0]["reason"].as_str().unwrap().starts_with("no scheduler ran"), "{data:#}");
    }
    listener.close().await;
}
