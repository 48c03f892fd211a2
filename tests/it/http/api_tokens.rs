//! API tokens: shown once, never more than their owner, ended by their time, by hand and with their owner.

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    App, Client,
    invariants::{everything, forms},
};

use super::cast::{self, Paper};

/// Makes a token; its id, and a client that presents it.
async fn program(owner: &Client, body: Value) -> (String, Client) {
    let made = owner.post("/v1/tokens", body).await.expect(201);
    let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    (text("id"), owner.with_token(&text("token")))
}

#[tokio::test]
async fn a_token_is_shown_once_and_calls_without_being_renewed() {
    let app = App::spawn().await;
    let answer = app.client.post("/v1/tokens", json!({ "name": "nightly", "role": "operator" })).await;
    let location = answer.header("location").unwrap().to_owned();
    let made = answer.expect(201);
    let secret = made["token"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("hft_") && secret.len() == 53, "{secret}");
    assert_eq!(
        (&made["name"], &made["role"], &made["admin_name"]),
        (&json!("nightly"), &json!("operator"), &json!("root"))
    );
    let days =
        "SELECT extract(epoch FROM expires_at - created_at)::float8 / 86400 FROM api_tokens WHERE name = 'nightly'";
    let days: f64 = app.value(days).await;
    assert!((89.9..=90.1).contains(&days), "{days}");

    let shown = app.client.get(&location).await.expect(200);
    let mut expected = made.clone();
    expected.as_object_mut().unwrap().remove("token");
    assert_eq!(shown, expected);
    assert!(shown["last_used_at"].is_null());

    let program = app.client.with_token(&secret);
    let me = program.get("/v1/auth/me").await;
    assert_eq!(me.header("x-access-token"), None, "an API token was renewed");
    let me = me.expect(200);
    assert_eq!(
        (&me["name"], &me["session_id"], &me["api_token"]["name"]),
        (&json!("root"), &Value::Null, &json!("nightly"))
    );
    assert_eq!(me["roles"], json!([{ "role": "operator", "service_id": null }]));
    let plain = app.client.anonymous();
    plain.send(plain.request(Method::GET, "/v1/auth/me").header("y-access-token", &secret)).await.expect(200);

    // Noted at most once a minute.
    let used = || app.value::<String>("SELECT last_used_at::text FROM api_tokens WHERE name = 'nightly'");
    let first = used().await;
    program.get("/v1/jobs").await.expect(200);
    assert_eq!(used().await, first);
    app.execute("UPDATE api_tokens SET last_used_at = last_used_at - interval '2 minutes'").await;
    program.get("/v1/jobs").await.expect(200);
    let again: bool =
        app.value(&format!("SELECT last_used_at >= '{first}' FROM api_tokens WHERE name = 'nightly'")).await;
    assert!(again, "its use was not noted");

    let listed = app.client.get("/v1/tokens").await;
    assert!(!listed.text.contains(&secret) && listed.text.contains("nightly"), "{}", listed.text);
    let (rows, logs) = (everything(&app).await, app.logs());
    for (form, text) in forms(&secret) {
        assert!(!rows.contains(&text) && !logs.contains(&text), "the token stands {form} in rows or logs");
    }
}

#[tokio::test]
async fn a_token_may_what_its_scope_and_its_owner_may_now() {
    let app = App::spawn().await;
    let (mine, other) = (Paper::create(&app.client).await, Paper::create(&app.client).await);
    let backup = |paper: &Paper| format!("/v1/targets/{}/backups", paper.target);
    let (_, all) = program(&app.client, json!({ "name": "all", "role": "operator" })).await;
    let (_, one) = program(&app.client, json!({ "name": "one", "role": "operator", "service_id": mine.service })).await;
    let (_, reads) = program(&app.client, json!({ "name": "reads", "role": "viewer" })).await;
    all.post(&backup(&mine), json!({})).await.expect(202);
    all.post(&backup(&other), json!({})).await.expect(202);
    one.post(&backup(&mine), json!({})).await.expect(202);
    one.post(&backup(&other), json!({})).await.expect(404);
    reads.post(&backup(&mine), json!({})).await.expect(403);
    reads.get(&format!("/v1/targets/{}", other.target)).await.expect(200);
    // The owner is super, the token is not.
    all.post("/v1/services", json!({ "name": "no" })).await.expect(403);
    let listed = one.get("/v1/targets").await.expect(200);
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!(mine.target)));

    // What its owner loses it loses, and what the owner gets beyond its scope it does not get.
    let owner = cast::admin(&app, "owner", &[("operator", Some(&mine.service))]).await;
    let (_, theirs) = program(&owner, json!({ "name": "theirs", "role": "operator" })).await;
    theirs.post(&backup(&mine), json!({})).await.expect(202);
    theirs.post(&backup(&other), json!({})).await.expect(404);
    let id = "(SELECT id FROM admins WHERE name = 'owner')";
    app.execute(&format!("UPDATE admin_roles SET role = 'viewer' WHERE admin_id = {id}")).await;
    theirs.post(&backup(&mine), json!({})).await.expect(403);
    app.execute(&format!("UPDATE admin_roles SET role = 'admin' WHERE admin_id = {id}")).await;
    theirs.post(&backup(&mine), json!({})).await.expect(202);
    theirs.patch(&format!("/v1/targets/{}", mine.target), json!({ "deadline_s": 60 })).await.expect(403);
    app.execute(&format!("DELETE FROM admin_roles WHERE admin_id = {id}")).await;
    theirs.post(&backup(&mine), json!({})).await.expect(404);
    app.execute(&format!("UPDATE admins SET disabled_at = now() WHERE id = {id}")).await;
    theirs.get("/v1/auth/me").await.expect(401);
    app.execute(&format!("UPDATE admins SET disabled_at = NULL WHERE id = {id}")).await;
    theirs.get("/v1/auth/me").await.expect(200);

    // Changes are the owner's, by the token's name; so are refusals.
    let named = "SELECT count(*) FROM audit WHERE admin_name = 'owner' AND detail -> 'api_token' ->> 'name' = 'theirs' AND outcome = ";
    assert_eq!(app.value::<i64>(&format!("{named} 'allowed'")).await, 2);
    assert!(app.value::<i64>(&format!("{named} 'denied'")).await >= 3);
}

#[tokio::test]
async fn nobody_makes_a_token_that_may_more_than_they() {
    let app = App::spawn().await;
    let (mine, other) = (Paper::create(&app.client).await, Paper::create(&app.client).await);
    let owner = cast::admin(&app, "owner", &[("operator", Some(&mine.service))]).await;
    let nobody = "00000000-0000-7000-8000-000000000000";
    for (body, pointer) in [
        (json!({ "name": "a", "role": "admin" }), "/role"),
        (json!({ "name": "a", "role": "super" }), "/role"),
        (json!({ "name": "a", "role": "root" }), "/role"),
        (json!({ "name": "a", "role": "admin", "service_id": mine.service }), "/role"),
        (json!({ "name": "a", "role": "viewer", "service_id": other.service }), "/service_id"),
        (json!({ "name": "a", "role": "viewer", "service_id": nobody }), "/service_id"),
        (json!({ "name": "A b", "role": "viewer" }), "/name"),
        (json!({ "name": "a", "role": "viewer", "expires_in_days": 0 }), "/expires_in_days"),
        (json!({ "name": "a", "role": "viewer", "expires_in_days": 366 }), "/expires_in_days"),
        (json!({ "name": "a", "role": "viewer", "admin_id": nobody }), "/admin_id"),
    ] {
        let refused = owner.post("/v1/tokens", body.clone()).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused}");
    }
    app.client.post("/v1/tokens", json!({ "name": "a", "role": "super" })).await.expect(422);
    let missing = json!({ "name": "a", "role": "viewer", "service_id": nobody });
    let missing = app.client.post("/v1/tokens", missing).await.expect(422);
    assert_eq!(missing["errors"][0]["pointer"], "/service_id");
    let body = json!({ "name": "a", "role": "operator", "service_id": mine.service, "expires_in_days": 365 });
    let (id, _) = program(&owner, body.clone()).await;
    owner.post("/v1/tokens", body.clone()).await.expect(409);
    // The name of a token that has ended is free.
    owner.delete(&format!("/v1/tokens/{id}")).await.expect(204);
    program(&owner, body).await;
}

#[tokio::test]
async fn a_token_ends_by_hand_and_by_its_time_and_only_its_owner_and_supers_see_it() {
    let app = App::spawn().await;
    let owner = cast::admin(&app, "owner", &[("viewer", None)]).await;
    let other = cast::admin(&app, "other", &[("admin", None)]).await;
    let (id, first) = program(&owner, json!({ "name": "first", "role": "viewer" })).await;
    let (second_id, second) = program(&owner, json!({ "name": "second", "role": "viewer" })).await;
    let (_, third) = program(&owner, json!({ "name": "third", "role": "viewer" })).await;
    let path = format!("/v1/tokens/{id}");
    for method in [Method::GET, Method::DELETE] {
        let hidden = other.send(other.request(method.clone(), &path)).await.expect(404);
        let missing = "/v1/tokens/00000000-0000-7000-8000-000000000000";
        assert_eq!(other.send(other.request(method, missing)).await.expect(404)["detail"], hidden["detail"]);
    }
    assert_eq!(other.get("/v1/tokens").await.expect(200), json!([]));
    let owners = owner.get("/v1/auth/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    other.get(&format!("/v1/tokens?admin={owners}")).await.expect(403);
    assert_eq!(owner.get("/v1/tokens").await.expect(200).as_array().unwrap().len(), 3);
    assert_eq!(app.client.get("/v1/tokens").await.header("x-total-count"), Some("3"));
    assert_eq!(app.client.get(&format!("/v1/tokens?admin={owners}&limit=1")).await.header("x-total-count"), Some("3"));

    first.get("/v1/auth/me").await.expect(200);
    owner.delete(&path).await.expect(204);
    first.get("/v1/auth/me").await.expect(401);
    owner.delete(&path).await.expect(204);
    assert!(owner.get(&path).await.expect(200)["revoked_at"].is_string());
    app.client.delete(&format!("/v1/tokens/{second_id}")).await.expect(204);
    second.get("/v1/auth/me").await.expect(401);
    third.get("/v1/auth/me").await.expect(200);
    // The owner's logout is no end of programs; time is.
    owner.post("/v1/auth/logout-everywhere", Value::Null).await.expect(204);
    third.get("/v1/auth/me").await.expect(200);
    app.execute("UPDATE api_tokens SET expires_at = now() WHERE name = 'third'").await;
    let over = third.get("/v1/auth/me").await.expect(401);
    let nobody = app.client.anonymous().get("/v1/auth/me").await.expect(401);
    assert_eq!((&over["detail"], &over["type"]), (&nobody["detail"], &nobody["type"]));
    let audited: Vec<String> =
        app.values("SELECT admin_name || ' ' || action FROM audit WHERE action LIKE 'token.%' AND outcome = 'allowed' ORDER BY id").await;
    let (create, revoke) = ("owner token.create", "owner token.revoke");
    assert_eq!(audited, [create, create, create, revoke, revoke, "root token.revoke"]);
}

#[tokio::test]
async fn a_program_makes_no_tokens_and_ends_no_logins() {
    let app = App::spawn().await;
    let (id, program) = program(&app.client, json!({ "name": "a", "role": "admin" })).await;
    let session = app.client.get("/v1/auth/me").await.expect(200)["session_id"].as_str().unwrap().to_owned();
    for (method, path, body) in [
        (Method::POST, "/v1/tokens".to_owned(), json!({ "name": "b", "role": "viewer" })),
        (Method::GET, "/v1/tokens".to_owned(), Value::Null),
        (Method::GET, format!("/v1/tokens/{id}"), Value::Null),
        (Method::DELETE, format!("/v1/tokens/{id}"), Value::Null),
        (Method::POST, "/v1/auth/logout".to_owned(), Value::Null),
        (Method::POST, "/v1/auth/logout-everywhere".to_owned(), Value::Null),
        (Method::GET, "/v1/auth/sessions".to_owned(), Value::Null),
        (Method::DELETE, format!("/v1/auth/sessions/{session}"), Value::Null),
    ] {
        let answer = program.send(program.request(method.clone(), &path).json(&body)).await;
        let refused = answer.expect(403);
        assert_eq!(refused["type"], "urn:holdfast:problem:forbidden", "{method} {path}");
        assert!(refused["detail"].as_str().unwrap().contains("not for API tokens"), "{refused}");
    }
    app.client.get("/v1/auth/me").await.expect(200);
    program.get("/v1/servers").await.expect(200);
}
