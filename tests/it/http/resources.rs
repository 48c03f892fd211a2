//! The whole life of what is registered: services, servers, credentials, targets.

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use support::{App, Client};

use super::cast::Paper;

/// Create, conflict, get, patch, delete. `unique` is a body that may be created once; `patch` changes it.
async fn life(client: &Client, collection: &str, unique: Value, patch: Value) {
    let made = client.post(collection, unique.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let one = format!("{collection}/{}", made.body["id"].as_str().unwrap());
    assert_eq!(made.header("location"), Some(one.as_str()));
    let twin = client.post(collection, unique.clone()).await.expect(409);
    assert_eq!(twin["type"], "urn:holdfast:problem:conflict");
    let read = client.get(&one).await.expect(200);
    assert_eq!(read, made.body, "{one}");
    for (name, value) in unique.as_object().unwrap() {
        assert!(name == "password" || &read[name] == value, "{name}: {read:#}");
    }
    // Nothing changed but the time.
    let same = client.patch(&one, json!({})).await.expect(200);
    assert_eq!(without_time(same), without_time(read.clone()), "{one}");
    let changed = client.patch(&one, patch.clone()).await.expect(200);
    for (name, value) in read.as_object().unwrap() {
        let expected = patch.get(name).unwrap_or(value);
        assert!(name == "updated_at" || &changed[name] == expected, "{name}: {changed:#}");
    }
    assert_eq!(client.get(&one).await.expect(200), changed);
    for field in ["id", "created_at", "nonsense"] {
        let refused = client.patch(&one, json!({ field: read["id"] })).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], format!("/{field}"), "{one}");
    }
    // The old name is free again, and the new one taken.
    let other = client.post(collection, unique.clone()).await.id();
    let renamed = json!({ "name": patch["name"] });
    client.patch(&format!("{collection}/{other}"), renamed).await.expect(409);
    client.delete(&format!("{collection}/{other}")).await.expect(204);
    client.delete(&one).await.expect(204);
    for answer in [client.get(&one).await, client.delete(&one).await, client.patch(&one, json!({})).await] {
        answer.expect(404);
    }
}

fn without_time(mut thing: Value) -> Value {
    thing.as_object_mut().unwrap().remove("updated_at");
    thing
}

#[tokio::test]
async fn each_resource_is_created_changed_and_deleted() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let named = |name: &str| json!({ "name": name, "description": "what it is: <b>&\"ü\u{1f600}" });
    life(client, "/v1/services", named("bids"), json!({ "name": "offers", "description": "" })).await;
    let server = json!({ "name": "pg-1", "engine": "postgres", "host": "db.example", "port": 5433, "max_jobs": 4,
        "tls_mode": "verify_full", "maintenance_database": "template1" });
    let patch = json!({ "name": "pg-2", "host": "::1", "port": 1, "tls_mode": "disable", "max_jobs": 64 });
    life(client, "/v1/servers", server, patch).await;
    let credential = json!({ "name": "cred-1", "user_name": "o'brien \"x\" =", "password": "p" });
    life(client, "/v1/credentials", credential, json!({ "name": "cred-2", "user_name": "u" })).await;
    let target = json!({ "service_id": paper.service, "server_id": paper.server, "name": "t-1", "database": "-d name=x'\"\n",
        "backup_credential_id": paper.credential, "stores": ["disk", "grid"], "required_copies": 2, "worker_group": "far" });
    let patch = json!({ "name": "t-2", "database": "ü", "stores": ["grid"], "required_copies": 1, "deadline_s": 60,
        "stall_s": 5, "restore_credential_id": paper.credential });
    life(client, "/v1/targets", target, patch).await;
}

#[tokio::test]
async fn a_patch_keeps_what_is_absent_and_clears_what_is_null() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let target = format!("/v1/targets/{}", paper.target);
    let server = format!("/v1/servers/{}", paper.server);
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, clearable) in [
        (&target, json!({ "restore_credential_id": paper.credential, "deadline_s": 60, "stall_s": 5 })),
        (&server, json!({ "tls_ca_pem": pem })),
    ] {
        let full = client.patch(path, clearable.clone()).await.expect(200);
        for (name, value) in clearable.as_object().unwrap() {
            assert_eq!(&full[name], value);
            let cleared = client.patch(path, json!({ name: null })).await.expect(200);
            for (other, value) in clearable.as_object().unwrap() {
                let expected = if other == name { &Value::Null } else { value };
                assert_eq!(&cleared[other], expected, "{other} after {name} was cleared");
            }
            client.patch(path, json!({ name: value })).await.expect(200);
        }
    }
    for (path, members) in [
        (
            &target,
            &["server_id", "name", "database", "backup_credential_id", "stores", "required_copies", "worker_group"][..],
        ),
        (&server, &["name", "host", "port", "tls_mode", "maintenance_database", "max_jobs"]),
        (&format!("/v1/services/{}", paper.service), &["name", "description"]),
        (&format!("/v1/credentials/{}", paper.credential), &["name", "user_name", "password"]),
    ] {
        let before = client.get(path).await.expect(200);
        for member in members {
            let refused = client.patch(path, json!({ *member: null })).await.expect(422);
            assert_eq!(refused["errors"][0]["pointer"], format!("/{member}"), "{path}");
        }
        assert_eq!(client.get(path).await.expect(200), before, "{path}");
    }
    let merge = client.request(Method::PATCH, &target).header(CONTENT_TYPE, "application/merge-patch+json");
    assert_eq!(client.send(merge.body(r#"{"deadline_s":null}"#)).await.expect(200)["deadline_s"], Value::Null);
    let post = client.request(Method::POST, "/v1/services").header(CONTENT_TYPE, "application/merge-patch+json");
    client.send(post.body(r#"{"name":"a"}"#)).await.expect(415);
}

#[tokio::test]
async fn what_is_referred_to_stays() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let paths = [
        format!("/v1/services/{}", paper.service),
        format!("/v1/servers/{}", paper.server),
        format!("/v1/credentials/{}", paper.credential),
    ];
    for path in &paths {
        let refused = client.delete(path).await.expect(409);
        assert!(refused["detail"].as_str().unwrap().contains("still referred to"), "{refused}");
        client.get(path).await.expect(200);
    }
    let target = format!("/v1/targets/{}", paper.target);
    let save = client.post(&format!("{target}/backups"), json!({})).await.expect(202)["save_id"].clone();
    client.delete(&target).await.expect(409);
    // Without jobs and saves everything goes, from the leaves.
    app.execute("TRUNCATE jobs, saves CASCADE").await;
    client.get(&format!("/v1/saves/{}", save.as_str().unwrap())).await.expect(404);
    client.delete(&target).await.expect(204);
    for path in &paths {
        client.delete(path).await.expect(204);
    }
}

#[tokio::test]
async fn a_target_refuses_what_is_not_there_or_of_another_kind() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let nowhere = "00000000-0000-7000-8000-000000000000";
    let good = json!({ "service_id": paper.service, "server_id": paper.server, "name": "t", "database": "d",
        "backup_credential_id": paper.credential, "stores": ["disk"] });
    for (member, value, pointer) in [
        ("service_id", json!(nowhere), "/service_id"),
        ("server_id", json!(nowhere), "/server_id"),
        ("backup_credential_id", json!(nowhere), "/backup_credential_id"),
        ("restore_credential_id", json!(nowhere), "/restore_credential_id"),
        ("service_id", json!("items"), "/service_id"),
        ("stores", json!([]), "/stores"),
        ("stores", json!(["a", "b", "a"]), "/stores/2"),
        ("stores", json!(["../x"]), "/stores/0"),
        ("stores", json!("disk"), "/stores"),
        ("required_copies", json!(2), "/required_copies"),
        ("required_copies", json!(0), "/required_copies"),
        ("database", json!(""), "/database"),
        ("database", json!("x".repeat(64)), "/database"),
        ("database", json!("a\u{0}b"), "/database"),
        ("deadline_s", json!(0), "/deadline_s"),
        ("stall_s", json!(86_401), "/stall_s"),
        ("worker_group", json!("A"), "/worker_group"),
    ] {
        let mut body = good.clone();
        body[member] = value.clone();
        let refused = client.post("/v1/targets", body).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{member} {value}: {refused}");
        if member != "service_id" {
            let refused = client.patch(&format!("/v1/targets/{}", paper.target), json!({ member: value })).await;
            assert_eq!(refused.status, if pointer == "/required_copies" && value == 2 { 200 } else { 422 }, "{member}");
        }
    }
    assert_eq!(app.value::<i64>("SELECT count(*) FROM targets").await, 1);
}
