//! A schedule fires, and its saves are made.

use serde_json::{Value, json};
use support::{App, Database, WorkerSpec};

use super::{Of, idle, pause, reasons, schedule, slots, slots_until};
use crate::mongo::scene::Shop;

#[tokio::test]
async fn a_schedule_of_every_second_saves_over_both_engines() {
    let (database, shop) = (Database::small().await, Shop::open().await);
    shop.fill().await;
    let mut app = App::spawn().await;
    let targets = [app.target(&database).await, app.target_with(&shop.spec()).await];
    let _worker = app.worker("a").await;
    let settings = json!({ "bytes_per_s": 200_000_000, "priority": 8 });
    let mut schedules = Vec::new();
    for target in &targets {
        schedules.push(schedule(&app, Of::Target(target), "* * * * * *", settings.clone()).await);
    }
    for schedule in &schedules {
        slots_until(&app, schedule, "ran", 3).await;
    }
    pause(&app).await;
    idle(&app).await;
    for (schedule, target) in schedules.iter().zip(&targets) {
        let ran = slots(&app, schedule, "ran").await;
        let saves: i64 = app
            .value(&format!(
                "SELECT count(*) FROM schedule_slots k JOIN jobs j ON j.group_id = k.group_id JOIN saves s ON s.job_id = j.id
                 WHERE k.schedule_id = '{schedule}' AND k.state = 'ran' AND s.schedule_id = k.schedule_id AND s.origin = 'schedule'
                   AND s.target_id = '{target}' AND s.state = 'available' AND s.scope = 'full'
                   AND j.priority = 8 AND j.payload ->> 'bytes_per_s' = '200000000'"
            ))
            .await;
        assert_eq!(saves, ran, "each slot that ran has its save");
        let all: i64 = app.value(&format!("SELECT count(*) FROM saves WHERE target_id = '{target}'")).await;
        assert_eq!(all, ran, "and no slot has two");
        let busy = "the jobs of the slot before have not ended";
        for why in reasons(&app, schedule, "skipped").await {
            assert!(why == busy || why.starts_with("the schedule is paused since "), "{why}");
        }
        assert_eq!(slots(&app, schedule, "missed").await, 0);
    }
    app.holds().await;
}

#[tokio::test]
async fn a_service_is_saved_in_one_group_and_what_cannot_be_is_named() {
    let databases = [Database::small().await, Database::small().await, Database::small().await];
    let mut app = App::spawn().await;
    let mut targets = Vec::new();
    for database in &databases {
        targets.push(app.target(database).await);
    }
    app.execute(&format!("UPDATE targets SET stores = '{{grid}}' WHERE id = '{}'", targets[2])).await;
    let service = app.service().await;
    let _worker = app.worker_with(&WorkerSpec { slots: 3, ..WorkerSpec::named("a") }).await;
    let expression = super::in_seconds(&app, 3).await;
    let settings = json!({ "stores": ["disk"], "exclude_tables": [{ "schema": "public", "table": "bids" }] });
    let schedule = schedule(&app, Of::Service(&service), &expression, settings).await;
    slots_until(&app, &schedule, "ran", 1).await;
    idle(&app).await;
    let group: uuid::Uuid = app
        .value(&format!("SELECT group_id FROM schedule_slots WHERE schedule_id = '{schedule}' AND state = 'ran'"))
        .await;
    let answer = app.client.get(&format!("/v1/groups/{group}")).await.expect(200);
    assert!(answer.to_string().contains("succeeded"), "{answer:#}");
    let saved: Vec<Value> = app
        .values(&format!(
            "SELECT to_jsonb(s.target_id) FROM saves s JOIN jobs j ON j.id = s.job_id
             WHERE j.group_id = '{group}' AND s.state = 'available' AND s.scope = 'partial' ORDER BY s.id"
        ))
        .await;
    let mut saved: Vec<_> = saved.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    saved.sort();
    let mut expected = targets[..2].to_vec();
    expected.sort();
    assert_eq!(saved, expected);
    let left_out = reasons(&app, &schedule, "ran").await.remove(0);
    assert!(left_out.contains("\"disk\" is not one of the target's stores"), "{left_out}");
    app.holds().await;
}
