//! After a failed newest backup nothing is removed, and that is told once.

use serde_json::json;
use support::{App, Database, database};

use super::{begun, fated, night, planned, schedule, settled, told, versions};

async fn rename(from: &str, to: &str) {
    let mut session = database::connect("postgres").await;
    database::run(&mut session, &format!("ALTER DATABASE {from} RENAME TO {to}")).await;
}

#[tokio::test]
async fn a_failed_newest_backup_blocks_until_one_succeeds() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&source).await;
    let _worker = app.worker("one").await;
    // While nobody says what to remove, three nights go by.
    let nightly = schedule(&app, &target, &json!({})).await;
    for days_ago in [5, 4, 3] {
        night(&app, &target, &nightly, days_ago).await;
    }
    settled(&app).await;
    app.execute(&format!("UPDATE schedules SET retention = '{{\"last\": 1}}' WHERE id = '{nightly}'")).await;
    let away = format!("{}_away", source.name);
    rename(&source.name, &away).await;
    for days_ago in [2, 1] {
        let (_, job) = begun(&app, &target, &nightly, days_ago).await;
        app.client.job_is(&job, "failed").await;
        settled(&app).await;
        assert_eq!(versions(&app, &target).await, [3, 2, 1]);
    }
    let blocked = told(&app, "retention.blocked").await;
    assert_eq!(blocked.len(), 1, "once: {blocked:#?}");
    assert_eq!((&blocked[0]["cause"], &blocked[0]["version"]), (&json!("failed"), &json!(4)));
    let plan = planned(&app, &nightly, "").await;
    assert_eq!((&plan["blocked"]["cause"], &plan["blocked"]["version"]), (&json!("failed"), &json!(5)), "{plan:#}");
    assert!(plan["blocked"]["reason"].as_str().unwrap().contains("until a backup succeeds"), "{plan:#}");
    assert_eq!((&plan["last_run"]["blocked"], &plan["last_run"]["removed"]), (&json!("failed"), &json!(0)), "{plan:#}");
    // What would go were it not blocked.
    assert_eq!(fated(&plan, "remove"), [2, 1]);

    rename(&away, &source.name).await;
    night(&app, &target, &nightly, 0).await;
    settled(&app).await;
    assert_eq!(versions(&app, &target).await, [6]);
    let applied = told(&app, "retention.applied").await;
    assert_eq!((applied.len(), &applied[0]["removed"]), (1, &json!(3)), "{applied:#?}");
    // Retention leaves records of failures alone.
    let failed: i64 = app.value("SELECT count(*) FROM saves WHERE state = 'failed'").await;
    assert_eq!(failed, 2);
    assert_eq!(planned(&app, &nightly, "").await["blocked"], json!(null));
    assert_eq!(told(&app, "retention.blocked").await.len(), 1);
    app.holds().await;
}

#[tokio::test]
async fn who_deletes_the_save_that_blocks_releases_it() {
    let source = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&source).await;
    let _worker = app.worker("one").await;
    let nightly = schedule(&app, &target, &json!({})).await;
    for days_ago in [3, 2, 1] {
        night(&app, &target, &nightly, days_ago).await;
    }
    settled(&app).await;
    app.execute(&format!("UPDATE schedules SET retention = '{{\"last\": 1}}' WHERE id = '{nightly}'")).await;
    // Somebody's own backup, which nobody lets come to anything.
    app.execute(&format!("UPDATE targets SET worker_group = 'nobody' WHERE id = '{target}'")).await;
    let job = app.backup(&target).await;
    app.execute(&format!("UPDATE targets SET worker_group = 'default' WHERE id = '{target}'")).await;
    let cancelled = app.client.post(&format!("/v1/jobs/{job}/cancel"), json!(null)).await.expect(200);
    settled(&app).await;
    let blocked = told(&app, "retention.blocked").await;
    assert_eq!((blocked.len(), &blocked[0]["save_id"]), (1, &cancelled["save_id"]), "{blocked:#?}");
    assert_eq!(versions(&app, &target).await, [3, 2, 1]);

    app.client.delete(&format!("/v1/saves/{}", cancelled["save_id"].as_str().unwrap())).await.expect(202);
    support::until("the older ones are gone", || async { (versions(&app, &target).await == [3]).then_some(()) }).await;
    settled(&app).await;
    app.holds().await;
}
