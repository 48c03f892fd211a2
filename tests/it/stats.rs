//! Statistics: what the days of a target were like, and what its schedule will come to.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use serde_json::{Value, json};
use support::{App, Database};

use crate::{
    http::cast,
    retention::{night, schedule, settled},
};

async fn of(app: &App, target: &str, query: &str) -> Value {
    let stats = app.client.get(&format!("/v1/stats?target={target}{query}")).await.expect(200);
    assert_eq!(stats.as_array().unwrap().len(), 1, "{stats:#}");
    stats[0].clone()
}

#[tokio::test]
async fn the_days_of_a_target_are_told_and_what_its_schedule_will_store() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let nothing = of(&app, &target, "").await;
    assert_eq!((&nothing["newest"], &nothing["days"], &nothing["schedules"]), (&json!(null), &json!([]), &json!([])));
    let _worker = app.worker("one").await;
    let nightly = schedule(&app, &target, &json!({ "daily": 7, "monthly": 3 })).await;
    for days_ago in [3, 2, 1] {
        night(&app, &target, &nightly, days_ago).await;
    }
    settled(&app).await;
    let cancelled = {
        app.execute("UPDATE targets SET worker_group = 'nobody'").await;
        let job = app.backup(&target).await;
        app.execute("UPDATE targets SET worker_group = 'default'").await;
        app.client.post(&format!("/v1/jobs/{job}/cancel"), Value::Null).await.expect(200);
        job
    };
    settled(&app).await;
    // Two of the nights ended two days ago, after 4 s and 8 s; what was cancelled and one night ended yesterday.
    app.execute(&format!(
        "SET TimeZone = 'UTC';
         UPDATE jobs SET finished_at = date_trunc('day', now()) - interval '2 days' + interval '3 h', started_at = date_trunc('day', now()) - interval '2 days' + interval '3 h' - make_interval(secs => CASE s.version WHEN 1 THEN 4 ELSE 8 END)
         FROM saves s WHERE s.id = jobs.save_id AND s.version IN (1, 2) AND jobs.kind = 'backup';
         UPDATE jobs SET finished_at = date_trunc('day', now()) - interval '1 us' WHERE id = '{cancelled}'"
    ))
    .await;
    let stats = of(&app, &target, "").await;
    let days = stats["days"].as_array().unwrap();
    assert_eq!(days.len(), 3, "{stats:#}");
    let counts = |day: &Value| ["runs", "failures", "cancelled"].map(|name| day[name].as_i64().unwrap());
    assert_eq!(days.iter().map(counts).collect::<Vec<_>>(), [[2, 0, 0], [1, 0, 1], [1, 0, 0]]);
    assert_eq!(days[0]["duration_s"], json!({ "min": 4.0, "median": 6.0, "max": 8.0 }));
    let raw: i64 = app.value("SELECT sum(raw_bytes)::bigint FROM saves WHERE version IN (1, 2)").await;
    let stored: i64 = app.value("SELECT sum(stored_bytes)::bigint FROM saves WHERE version IN (1, 2)").await;
    assert_eq!((&days[0]["raw_bytes"], &days[0]["stored_bytes"]), (&json!(raw), &json!(stored)));
    let rate = days[0]["raw_bytes_per_s"].as_f64().unwrap();
    assert!((rate * 12.0 - f64::from(i32::try_from(raw).unwrap())).abs() < 1.0, "{rate} of {raw}");
    assert_eq!((&days[1]["duration_s"], &days[1]["newest_raw_bytes"]), (&json!(null), &json!(null)));
    let newest: String = app.value("SELECT id::text FROM saves WHERE version = 3").await;
    assert_eq!((&stats["newest"]["save_id"], &stats["newest"]["version"]), (&json!(newest), &json!(3)));
    assert_eq!(stats["verified_age_days"], json!(null));

    // One a day: seven days, and two months before this one, or three where the seven days reach into the one before.
    let forecast = &stats["schedules"][0];
    let interval = forecast["interval_s"].as_f64().unwrap();
    assert!((interval - 86_400.0).abs() < 120.0, "{forecast:#}");
    let saves = forecast["saves"].as_i64().unwrap();
    assert!((8..=9).contains(&saves), "{forecast:#}");
    let mean: f64 = app.value("SELECT avg(stored_bytes)::float8 FROM saves WHERE schedule_id IS NOT NULL").await;
    #[expect(clippy::cast_possible_truncation, reason = "a few thousand bytes")]
    let mean = mean.round() as i64;
    assert_eq!((&forecast["mean_stored_bytes"], &forecast["stored_bytes"]), (&json!(mean), &json!(mean * saves)));
    assert!(forecast["arithmetic"].as_str().unwrap().contains(&format!("{saves} saves")), "{forecast:#}");

    app.client.post(&format!("/v1/saves/{newest}/verify?wait=60s"), json!({})).await.expect(202);
    let stats = of(&app, &target, "").await;
    let age = stats["verified_age_days"].as_f64().unwrap();
    assert!((age - 1.0).abs() < 0.1, "the newest night is of yesterday: {age}");

    let yesterday: String = app.value("SELECT ((now() AT TIME ZONE 'UTC')::date - 1)::text").await;
    let one = of(&app, &target, &format!("&from={yesterday}&to={yesterday}")).await;
    assert_eq!(one["days"].as_array().unwrap().len(), 1, "{one:#}");
    assert_eq!(one["days"][0]["day"], json!(yesterday));
    for (query, pointer) in [
        ("from=2026-01-02&to=2026-01-01", "?from"),
        ("from=2020-01-01&to=2026-01-01", "?from"),
        ("from=monday", "?from"),
    ] {
        let refused = app.client.get(&format!("/v1/stats?{query}")).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused:#}");
    }
    let service = app.service().await;
    let theirs = cast::admin(&app, "theirs", &[]).await;
    theirs.get(&format!("/v1/stats?service={service}")).await.expect(404);
    theirs.get(&format!("/v1/stats?target={target}")).await.expect(404);
    assert_eq!(theirs.get("/v1/stats").await.expect(200), json!([]));
    app.holds().await;
}
