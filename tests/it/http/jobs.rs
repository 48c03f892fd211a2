//! Jobs over HTTP: waiting, cancelling, repeating, their history, their events and what the audit says of them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{App, Database, until};

use super::cast::{Paper, admin};

#[tokio::test]
async fn a_wait_ends_with_the_job() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let worker = app.worker("a").await;
    let probe = app.client.post(&format!("/v1/targets/{target}/probe?wait=30s"), Value::Null).await;
    let location = probe.header("location").unwrap().to_owned();
    let probe = probe.expect(202);
    assert_eq!(
        (probe["state"].as_str(), location),
        (Some("succeeded"), format!("/v1/jobs/{}", probe["id"].as_str().unwrap()))
    );
    assert!(probe["result"].is_object(), "{probe:#}");

    let hold = database.hold("lots").await;
    let job = app.backup(&target).await;
    database.dump_waits().await;
    let path = format!("/v1/jobs/{job}?wait=60s");
    let (waited, ()) = tokio::join!(app.client.get(&path), async {
        // Somebody is waiting now, or will be: either way the end has to be told.
        app.client.get("/v1/jobs").await.expect(200);
        hold.release().await;
    });
    assert_eq!(waited.expect(200)["state"], "succeeded");
    // An end that was there before answers at once.
    let began = Instant::now();
    app.client.get(&path).await.expect(200);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    drop(worker);
    app.holds().await;
}

#[tokio::test]
async fn a_wait_ends_at_its_limit_and_holds_no_connection() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let job = client.post(&format!("/v1/targets/{}/probe", paper.target), Value::Null).await.id();
    let began = Instant::now();
    let path = format!("/v1/jobs/{job}?wait=3s");
    // More waits than the pool has connections, and somebody who does not wait.
    let waits = futures_util::future::join_all((0..40).map(|_| client.get(&path)));
    let others = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            client.get("/v1/services").await.expect(200);
            slowest = slowest.max(began.elapsed());
        }
        (slowest, Instant::now())
    };
    let (waits, (slowest, others_done)) = tokio::join!(waits, others);
    let waited = began.elapsed();
    assert!(waits.iter().all(|answer| answer.status == 200 && answer.body["state"] == "queued"));
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(20), "{waited:?}");
    assert!(others_done - began < waited && slowest < Duration::from_secs(3), "{slowest:?}");
}

#[tokio::test]
async fn a_job_is_cancelled_once_and_only_before_its_end() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let cancel = |job: &str| format!("/v1/jobs/{job}/cancel");

    let queued = app.backup(&target).await;
    for _ in 0..3 {
        let job = app.client.post(&cancel(&queued), Value::Null).await.expect(200);
        assert_eq!(job["state"], "cancelled");
    }
    assert_eq!(app.history(&queued).await, ["queued", "cancelled"]);
    let save = app.client.job(&queued).await["save_id"].as_str().unwrap().to_owned();
    assert_eq!(app.client.get(&format!("/v1/saves/{save}")).await.expect(200)["state"], "failed");

    let _worker = app.worker("a").await;
    let hold = database.hold("lots").await;
    let running = app.backup(&target).await;
    database.dump_waits().await;
    for _ in 0..2 {
        let asked = app.client.post(&cancel(&running), Value::Null).await;
        assert!(asked.status == 202 || asked.body["state"] == "cancelled", "{}", asked.text);
    }
    app.client.job_is(&running, "cancelled").await;
    hold.release().await;

    let done = app.backup(&target).await;
    app.client.job_is(&done, "succeeded").await;
    let late = app.client.post(&cancel(&done), Value::Null).await.expect(409);
    assert!(late["detail"].as_str().unwrap().contains("succeeded"), "{late}");
    app.client.post(&cancel("00000000-0000-7000-8000-000000000000"), Value::Null).await.expect(404);
    app.holds().await;
}

#[tokio::test]
async fn a_job_that_ended_badly_is_repeated_as_a_new_one() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let retry = |job: &str, query: &str| format!("/v1/jobs/{job}/retry{query}");
    let body = json!({ "tables": [{ "schema": "public", "table": "lots" }], "note": "why not", "priority": 8 });
    let first = app.client.post(&format!("/v1/targets/{target}/backups"), body).await.expect(202);
    let job = first["id"].as_str().unwrap();
    app.client.post(&retry(job, ""), Value::Null).await.expect(409);
    app.client.post(&format!("/v1/jobs/{job}/cancel"), Value::Null).await.expect(200);

    let _worker = app.worker("a").await;
    let second = app.client.post(&retry(job, "?wait=60s"), Value::Null).await.expect(202);
    assert_eq!((&second["state"], &second["retry_of"]), (&json!("succeeded"), &json!(job)), "{second:#}");
    assert_eq!((&second["payload"]["tables"], &second["priority"]), (&first["payload"]["tables"], &json!(8)));
    assert_ne!((&second["id"], &second["save_id"]), (&first["id"], &first["save_id"]));
    let save = |job: &Value| format!("/v1/saves/{}", job["save_id"].as_str().unwrap());
    let (old, new) =
        (app.client.get(&save(&first)).await.expect(200), app.client.get(&save(&second)).await.expect(200));
    assert_eq!(
        (&old["state"], &new["state"], &new["scope"]),
        (&json!("failed"), &json!("available"), &json!("partial"))
    );
    assert_eq!((&new["note"], &new["origin"]), (&old["note"], &old["origin"]));
    assert_eq!(app.client.job(job).await["state"], "cancelled", "the old one stays as it ended");
    app.client.post(&retry(second["id"].as_str().unwrap(), ""), Value::Null).await.expect(409);
    app.holds().await;
}

#[tokio::test]
async fn events_stay_with_their_service_though_its_name_moves_to_another() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let _relay = app.worker("a").await;
    app.client.post(&format!("/v1/targets/{}/probe", paper.target), Value::Null).await.expect(202);
    let service = format!("/v1/services/{}", paper.service);
    let name = app.client.get(&service).await.expect(200)["name"].clone();
    app.client.patch(&service, json!({ "name": "renamed" })).await.expect(200);
    let heir = app.client.post("/v1/services", json!({ "name": name })).await.id();
    let owner = admin(&app, "owner", &[("viewer", Some(&paper.service))]).await;
    let stranger = admin(&app, "stranger", &[("viewer", Some(&heir))]).await;
    let seen = until("the owner sees the job", || async {
        let events = owner.get("/v1/events").await.expect(200);
        events.as_array().is_some_and(|all| !all.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(seen[0]["service"], name, "called as it was called then");
    assert_eq!(stranger.get("/v1/events").await.expect(200), json!([]), "another service's past");
}

#[tokio::test]
async fn a_job_leaves_its_steps_its_events_and_who_wanted_it() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let target = app.target(&database).await;
    let _worker = app.worker("a").await;
    let request = app.client.request(reqwest::Method::POST, &format!("/v1/targets/{target}/backups"));
    let asked = app.client.send(request.header("x-request-id", "the-one-request").json(&json!({}))).await.expect(202);
    let job = asked["id"].as_str().unwrap();
    let done = app.client.job_is(job, "succeeded").await;
    assert_eq!((&done["request_id"], &done["trace_id"]), (&json!("the-one-request"), &json!("the-one-request")));

    let steps = app.client.get(&format!("/v1/jobs/{job}/history")).await.expect(200);
    let steps = steps.as_array().unwrap();
    assert_eq!((&steps[0]["from_state"], &steps[0]["to_state"]), (&Value::Null, &json!("queued")));
    let last = steps.last().unwrap();
    assert_eq!((&last["from_state"], &last["to_state"]), (&json!("running"), &json!("succeeded")));
    for pair in steps.windows(2) {
        assert_eq!(pair[0]["to_state"], pair[1]["from_state"], "{steps:#?}");
        assert!(
            pair[0]["at"].as_str() <= pair[1]["at"].as_str() && pair[0]["epoch"].as_i64() <= pair[1]["epoch"].as_i64()
        );
    }

    let all = until("the job's end is in the history of events", || async {
        let events = app.client.get("/v1/events").await.expect(200);
        let ended = events.as_array().unwrap().iter().any(|event| event["type"] == "job.succeeded");
        ended.then_some(events)
    })
    .await;
    let all = all.as_array().unwrap();
    let seqs: Vec<i64> = all.iter().map(|event| event["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=i64::try_from(all.len()).unwrap()).collect::<Vec<_>>(), "no gap, from the first");
    assert!(all.iter().all(|event| event["trace_id"] == "the-one-request" && event["service"] == "items"), "{all:#?}");
    assert!(all.iter().any(|event| event["type"] == "save.completed"));
    let rest = app.client.get("/v1/events?after=1&limit=1").await.expect(200);
    assert_eq!(rest.as_array().unwrap(), &all[1..2]);
    let end = format!("/v1/events?after={}", all.len());
    assert_eq!(app.client.get(&end).await.expect(200), json!([]));
    for query in ["limit=0", "limit=101", "after=a"] {
        app.client.get(&format!("/v1/events?{query}")).await.expect(422);
    }

    let audit = "SELECT to_jsonb(a) FROM audit a WHERE request_id = 'the-one-request'";
    let entry: Value = app.value(audit).await;
    assert_eq!(
        (&entry["action"], &entry["outcome"], &entry["admin_name"], &entry["resource_type"], &entry["resource_id"]),
        (&json!("backup.create"), &json!("allowed"), &json!("root"), &json!("target"), &json!(target))
    );
    assert_eq!((&entry["address"], &entry["detail"]["job_id"]), (&json!("127.0.0.1"), &json!(job)));
    // Nobody who runs as the application can rewrite what was done.
    let application = sqlx::PgPool::connect(&app.database_url()).await.unwrap();
    for sql in ["UPDATE audit SET action = 'x'", "DELETE FROM audit", "TRUNCATE audit", "DELETE FROM job_events"] {
        let error = sqlx::query(sql).execute(&application).await.unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{sql}: {error}");
    }
}
