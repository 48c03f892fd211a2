//! Backups of a whole service, and following them together.

use serde_json::{Value, json};
use support::{App, Database, TargetSpec};

use super::cast::{self, Paper};

#[tokio::test]
async fn a_service_is_backed_up_in_one_request_and_followed_in_one() {
    let (first, second) = (Database::small().await, Database::small().await);
    let mut app = App::spawn().await;
    let targets = [app.target(&first).await, app.target(&second).await];
    let service = app.service().await;
    let client = &app.client;
    let asked = client.post(&format!("/v1/services/{service}/backups"), json!({ "note": "both" })).await;
    let group = asked.body["group_id"].as_str().unwrap().to_owned();
    assert_eq!(asked.header("location"), Some(format!("/v1/groups/{group}").as_str()));
    let asked = asked.expect(202);
    let mut of: Vec<&str> =
        asked["jobs"].as_array().unwrap().iter().map(|one| one["target_id"].as_str().unwrap()).collect();
    of.sort_unstable();
    let mut all: Vec<&str> = targets.iter().map(String::as_str).collect();
    all.sort_unstable();
    assert_eq!((of, &asked["refused"]), (all, &json!([])));

    let path = format!("/v1/groups/{group}");
    let waits = client.get(&path).await.expect(200);
    assert_eq!(
        (&waits["state"], &waits["total"], &waits["ended"]),
        (&json!("queued"), &json!(2), &json!(0)),
        "{waits:#}"
    );
    assert_eq!(client.get(&format!("{path}?wait=200ms")).await.expect(200)["state"], "queued", "the time is up");
    let _worker = app.worker("a").await;
    let done = client.get(&format!("{path}?wait=60s")).await.expect(200);
    assert_eq!((&done["state"], &done["counts"]["succeeded"]), (&json!("succeeded"), &json!(2)), "{done:#}");
    assert!(done["finished_at"].is_string() && done["jobs"].as_array().unwrap().len() == 2, "{done:#}");
    assert_eq!(client.get(&format!("/v1/jobs?group={group}")).await.header("x-total-count"), Some("2"));
    for job in asked["jobs"].as_array().unwrap() {
        let save = client.get(&format!("/v1/saves/{}", job["save_id"].as_str().unwrap())).await.expect(200);
        assert_eq!((&save["state"], &save["note"]), (&json!("available"), &json!("both")));
    }
    let entry = client.get(&format!("/v1/audit?action=backup.create&resource=service&resource_id={service}")).await;
    assert_eq!(entry.body[0]["detail"]["group_id"], json!(group), "{}", entry.text);
}

#[tokio::test]
async fn targets_that_cannot_be_backed_up_so_are_named_and_the_others_go_on() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let plain = app.target(&database).await;
    let mut spec = TargetSpec::of(&database.name);
    spec.target = json!({ "stores": ["disk", "grid"] });
    let both = app.target_with(&spec).await;
    let service = app.service().await;
    let path = format!("/v1/services/{service}/backups");
    let asked = app.client.post(&path, json!({ "stores": ["grid"] })).await.expect(202);
    assert_eq!((&asked["jobs"][0]["target_id"], asked["jobs"].as_array().unwrap().len()), (&json!(both), 1));
    assert_eq!((&asked["refused"][0]["target_id"], asked["refused"].as_array().unwrap().len()), (&json!(plain), 1));
    assert!(asked["refused"][0]["detail"].as_str().unwrap().contains("grid"), "{asked:#}");
    let group = asked["group_id"].as_str().unwrap();
    let job = asked["jobs"][0]["job_id"].as_str().unwrap();
    app.client.post(&format!("/v1/jobs/{job}/cancel"), Value::Null).await.expect(200);
    assert_eq!(app.client.get(&format!("/v1/groups/{group}")).await.expect(200)["state"], "cancelled");

    // Where nothing is left nothing is asked for.
    let before: i64 = app.value("SELECT count(*) FROM jobs").await;
    let refused = app.client.post(&path, json!({ "stores": ["nowhere"] })).await.expect(409);
    assert!(refused["detail"].as_str().unwrap().contains("nowhere"), "{refused}");
    let empty = app.client.post("/v1/services", json!({ "name": "empty" })).await.id();
    app.client.post(&format!("/v1/services/{empty}/backups"), json!({})).await.expect(409);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM jobs").await, before);
}

#[tokio::test]
async fn of_a_group_everybody_sees_the_jobs_of_their_services() {
    let app = App::spawn().await;
    let (own, other) = (Paper::create(&app.client).await, Paper::create(&app.client).await);
    let asked = app.client.post(&format!("/v1/services/{}/backups", own.service), json!({})).await.expect(202);
    let group = asked["group_id"].as_str().unwrap();
    let theirs = app.client.post(&format!("/v1/targets/{}/probe", other.target), Value::Null).await.id();
    let (mine, nobody) = (
        cast::admin(&app, "mine", &[("viewer", Some(&own.service))]).await,
        cast::admin(&app, "nobody", &[("admin", Some(&other.service))]).await,
    );
    let path = format!("/v1/groups/{group}");
    nobody.get(&path).await.expect(404);
    app.execute(&format!("UPDATE jobs SET group_id = '{group}' WHERE id = '{theirs}'")).await;
    assert_eq!(app.client.get(&path).await.expect(200)["total"], 2);
    let seen = mine.get(&path).await.expect(200);
    assert_eq!((&seen["total"], seen["jobs"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(nobody.get(&path).await.expect(200)["jobs"][0]["id"], json!(theirs));
    app.client.get("/v1/groups/00000000-0000-7000-8000-000000000000").await.expect(404);
}

#[tokio::test]
async fn a_service_wide_backup_that_is_asked_for_again_is_the_same_group_and_waits_for_it() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    app.target(&database).await;
    let path = format!("/v1/services/{}/backups", app.service().await);
    let client = &app.client;
    let ask = |wait: &str| {
        let request = client.request(reqwest::Method::POST, &format!("{path}{wait}"));
        client.send(request.header("idempotency-key", "nightly").json(&json!({})))
    };
    let first = ask("").await.expect(202);
    let group = format!("/v1/groups/{}", first["group_id"].as_str().unwrap());
    let again = ask("?wait=100ms").await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.expect(202), first);
    assert_eq!(client.get(&group).await.expect(200)["state"], "queued");
    let (_worker, waited) = tokio::join!(app.worker("a"), ask("?wait=60s"));
    assert_eq!(waited.expect(202), first);
    assert_eq!(client.get(&group).await.expect(200)["state"], "succeeded", "it was not waited for");
    assert_eq!(app.value::<i64>("SELECT count(*) FROM jobs").await, 1);
}
