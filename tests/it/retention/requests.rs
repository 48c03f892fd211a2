//! What is kept, what goes, and the answer that says so before.

use serde_json::json;
use support::{App, Database};

use super::{fated, night, planned, reasons, schedule, settled, told, versions};
use crate::delete::on_disk;

#[tokio::test]
async fn of_the_nights_those_stay_that_a_rule_keeps_and_nothing_else_is_touched() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("one").await;
    let nightly = schedule(&app, &target, &json!({ "daily": 3 })).await;
    let other = schedule_of_its_own(&app, &target).await;

    night(&app, &target, &other, 9).await;
    let manual = app.saved(&target).await;
    let pinned = night(&app, &target, &nightly, 8).await;
    app.client.patch(&format!("/v1/saves/{pinned}"), json!({ "pinned": true })).await.expect(200);
    for days_ago in (0..=5).rev() {
        night(&app, &target, &nightly, days_ago).await;
    }
    settled(&app).await;
    // 1 is another schedule's, 2 somebody's, 3 is pinned; of the six nights three stay.
    assert_eq!(versions(&app, &target).await, [9, 8, 7, 3, 2, 1]);
    let gone: i64 = app.value("SELECT count(*) FROM saves WHERE state = 'deleted' AND version IN (4, 5, 6)").await;
    assert_eq!(gone, 3);
    let keys: Vec<String> = on_disk(&app).into_keys().collect();
    let saves: Vec<String> = app.values("SELECT id::text FROM saves WHERE state = 'available'").await;
    assert!(keys.iter().all(|key| saves.iter().any(|save| key.contains(save))), "{keys:#?} of {saves:#?}");

    let applied = told(&app, "retention.applied").await;
    let removed: u64 = applied.iter().map(|data| data["removed"].as_u64().unwrap()).sum();
    assert_eq!(removed, 3, "{applied:#?}");
    assert!(applied.iter().all(|data| data["schedule_id"] == json!(nightly) && data["target_id"] == json!(target)));
    assert!(applied[0]["freed_bytes"].as_i64().unwrap() > 0, "{applied:#?}");
    assert_eq!(told(&app, "retention.blocked").await.len(), 0);

    let plan = planned(&app, &nightly, "").await;
    assert_eq!((fated(&plan, "keep"), fated(&plan, "remove")), (vec![9, 8, 7, 3], vec![]), "{plan:#}");
    assert_eq!((&plan["kept"], &plan["removed"], &plan["others"]), (&json!(4), &json!(0), &json!(2)));
    assert_eq!(reasons(&plan, 3), ["it is pinned"]);
    assert!(reasons(&plan, 8)[0].starts_with("daily: the newest of "), "{plan:#}");
    assert_eq!(plan["blocked"], json!(null));
    assert_eq!(plan["last_run"]["kept"], 4, "{plan:#}");
    // Nobody asked for these deletions but Holdfast itself.
    let asked: i64 = app.value("SELECT count(*) FROM jobs WHERE kind = 'delete' AND requested_by IS NOT NULL").await;
    assert_eq!(asked, 0);
    drop(manual);
    app.holds().await;
}

/// One that keeps everything.
async fn schedule_of_its_own(app: &App, target: &str) -> String {
    let sql = format!(
        "INSERT INTO schedules (id, name, covers, target_id, service_id, expression)
         SELECT gen_random_uuid(), 'weekly', 'target', t.id, t.service_id, '@weekly' FROM targets t WHERE t.id = '{target}' RETURNING id::text"
    );
    app.value(&sql).await
}

#[tokio::test]
async fn a_dry_run_shows_the_fate_of_each_save_and_tries_other_rules() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("one").await;
    let keeps = schedule_of_its_own(&app, &target).await;
    for days_ago in [40, 3, 2, 1] {
        night(&app, &target, &keeps, days_ago).await;
    }
    settled(&app).await;
    let plan = planned(&app, &keeps, "").await;
    assert_eq!(fated(&plan, "keep"), [4, 3, 2, 1]);
    assert_eq!(reasons(&plan, 2), ["no rule says what to remove"]);
    assert_eq!(plan["last_run"], json!(null), "what keeps everything is not looked at");

    let plan = planned(&app, &keeps, "?last=1&within_days=3").await;
    assert_eq!((fated(&plan, "keep"), fated(&plan, "remove")), (vec![4, 3, 2], vec![1]), "{plan:#}");
    assert_eq!(
        reasons(&plan, 1),
        ["last: not among the newest 1", "within_days: more than 3 days older than the newest"]
    );
    let stored: i64 = app.value("SELECT stored_bytes FROM saves WHERE version = 1").await;
    assert_eq!(plan["freed_bytes"], json!(stored));

    // Used ones stay: by a job that reads it, and by one that waits to.
    app.execute("INSERT INTO save_uses (save_id, job_id) SELECT id, job_id FROM saves WHERE version = 1").await;
    let plan = planned(&app, &keeps, "?last=1").await;
    assert_eq!((fated(&plan, "remove"), reasons(&plan, 1)), (vec![3, 2], vec!["it is in use".to_owned()]));
    app.execute("DELETE FROM save_uses").await;
    // What is verified lately stays, whatever the rules say.
    let save: String = app.value("SELECT id::text FROM saves WHERE version = 2").await;
    app.client.post(&format!("/v1/saves/{save}/verify?wait=60s"), json!({})).await.expect(202);
    assert_eq!(fated(&planned(&app, &keeps, "?last=1").await, "remove"), [3, 1]);
    // Nothing of all this changed anything.
    settled(&app).await;
    assert_eq!(versions(&app, &target).await, [4, 3, 2, 1]);

    let client = &app.client;
    let nobody = uuid::Uuid::now_v7();
    client.get(&format!("/v1/schedules/{nobody}/retention")).await.expect(404);
    client.get(&format!("/v1/schedules/{keeps}/retention?rules=1")).await.expect(422);
    let none = client.get(&format!("/v1/schedules/{keeps}/retention?target={nobody}")).await;
    assert_eq!((none.header("x-total-count"), none.body.as_array().unwrap().len()), (Some("0"), 0));
    app.execute(&format!("UPDATE schedules SET deleted_at = clock_timestamp() WHERE id = '{keeps}'")).await;
    client.get(&format!("/v1/schedules/{keeps}/retention")).await.expect(404);
    app.holds().await;
}
