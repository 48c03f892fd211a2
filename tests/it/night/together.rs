//! Many schedulers and many schedules: each slot is fired once.

use support::{App, Database, until};

use super::{Of, in_seconds, nothing, pause, schedule, scheduler};

/// As many targets like this one as are wanted, each with a schedule.
async fn many(app: &App, target: &str, count: usize, expression: &str, settings: &str) {
    app.execute(&format!(
        "WITH new AS (
             INSERT INTO targets (id, service_id, server_id, name, database, backup_credential_id, stores)
             SELECT gen_random_uuid(), service_id, server_id, 'copy-' || n, database, backup_credential_id, stores
             FROM targets, generate_series(1, {count}) n WHERE id = '{target}' RETURNING id, service_id, name)
         INSERT INTO schedules (id, name, covers, target_id, service_id, expression, settings)
         SELECT gen_random_uuid(), name, 'target', id, service_id, '{expression}', '{settings}' FROM new"
    ))
    .await;
}

/// Every slot that ran has one group with one job, and every job one save.
async fn each_once(app: &App) -> i64 {
    let ran: i64 = app.value("SELECT count(*) FROM schedule_slots WHERE state = 'ran'").await;
    let groups: i64 = app.value("SELECT count(DISTINCT group_id) FROM schedule_slots WHERE state = 'ran'").await;
    let jobs: i64 = app.value("SELECT count(*) FROM jobs").await;
    let of_slots: i64 =
        app.value("SELECT count(*) FROM jobs j JOIN schedule_slots k ON k.group_id = j.group_id JOIN saves s ON s.job_id = j.id AND s.schedule_id = k.schedule_id").await;
    assert_eq!((groups, jobs, of_slots), (ran, ran, ran));
    ran
}

#[tokio::test]
async fn each_slot_of_a_thousand_schedules_is_fired_once_by_three_schedulers() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let mut workers = Vec::new();
    for name in ["a", "b", "c"] {
        workers.push(app.worker_with(&scheduler(name)).await);
    }
    let expression = in_seconds(&app, 8).await;
    many(&app, &target, 1000, &expression, "{}").await;
    until("all are planned", || async {
        let planned: i64 = app.value("SELECT count(*) FROM schedule_slots").await;
        (planned == 1000).then_some(())
    })
    .await;
    until("all have fired", || async {
        let left: i64 = app.value("SELECT count(*) FROM schedules s WHERE NOT EXISTS (SELECT FROM schedule_slots k WHERE k.schedule_id = s.id AND k.state <> 'planned')").await;
        (left == 0).then_some(())
    })
    .await;
    assert_eq!(each_once(&app).await, 1000);
    let next: i64 = app.value("SELECT count(*) FROM schedule_slots WHERE state = 'planned' AND at > clock_timestamp() + interval '300 days'").await;
    assert_eq!(next, 1000, "next year's are planned");
}

#[tokio::test]
async fn ten_schedulers_fire_each_second_once() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let mut workers = Vec::new();
    for n in 0..10 {
        workers.push(app.worker_with(&scheduler(&format!("w{n}"))).await);
    }
    many(&app, &target, 20, "* * * * * *", r#"{"overlap": "queue"}"#).await;
    until("each has fired four times", || async {
        let least: i64 = app.value("SELECT min(n) FROM (SELECT count(*) FILTER (WHERE k.state = 'ran') AS n FROM schedules s LEFT JOIN schedule_slots k ON k.schedule_id = s.id GROUP BY s.id) counted").await;
        (least >= 4).then_some(())
    })
    .await;
    pause(&app).await;
    assert!(each_once(&app).await >= 80);
    let gaps: i64 = app
        .value(
            "SELECT count(*) FROM (SELECT at - lag(at) OVER (PARTITION BY schedule_id ORDER BY at) AS step FROM schedule_slots) steps
             WHERE step <> interval '1 s'",
        )
        .await;
    assert_eq!(gaps, 0, "every second has its slot");
}

#[tokio::test]
async fn a_worker_that_is_told_not_to_leaves_schedules_alone() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let mut off = scheduler("off");
    off.envs.push(("HOLDFAST__WORKER__SCHEDULER".to_owned(), "false".to_owned()));
    let _off = app.worker_with(&off).await;
    let schedule = schedule(&app, Of::Target(&target), "* * * * * *", nothing()).await;
    // It sweeps, so it has had its time.
    app.execute("UPDATE workers SET last_seen_at = clock_timestamp() - interval '1 h'").await;
    until("it sweeps", || async {
        let seen: i64 =
            app.value("SELECT count(*) FROM workers WHERE last_seen_at > clock_timestamp() - interval '1 min'").await;
        (seen == 1).then_some(())
    })
    .await;
    let planned: i64 = app.value("SELECT count(*) FROM schedule_slots").await;
    assert_eq!(planned, 0);
    let _on = app.worker_with(&scheduler("on")).await;
    super::slots_until(&app, &schedule, "ran", 1).await;
}
