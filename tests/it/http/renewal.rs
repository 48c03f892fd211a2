//! How long a token lives: renewed by use in prod, a day in dev, never past its session.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, App, Client, Process, until};

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn life(token: &str) -> i64 {
    let claims = claims(token);
    claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
}

#[tokio::test]
async fn in_prod_every_call_of_a_person_renews_the_token_until_the_session_ends() {
    let app = App::spawn().await;
    assert_eq!(life(app.client.token.as_ref().unwrap()), 15 * 60);
    for answer in [
        app.client.get("/v1/auth/me").await,
        app.client.get("/v1/jobs").await,
        app.client.post("/v1/services", json!({ "name": "renewed" })).await,
    ] {
        assert!(answer.status.is_success(), "{}", answer.text);
        let renewed = answer.header("x-access-token").expect("no new token").to_owned();
        assert_eq!(life(&renewed), 15 * 60);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        app.client.with_token(&renewed).get("/v1/auth/me").await.expect(200);
    }
    // Neither a refusal nor a failure gives one away.
    let refused = app.client.get("/v1/services/00000000-0000-7000-8000-000000000000").await;
    assert_eq!((refused.status.as_u16(), refused.header("x-access-token")), (404, None));
    assert_eq!(app.client.anonymous().get("/healthz").await.header("x-access-token"), None);

    let soon = "UPDATE sessions SET expires_at = now() + interval '100 seconds'";
    sqlx::query(soon).execute(&app.pool).await.unwrap();
    // As soon as the process looks at the session again.
    until("a token lives no longer than its session", || async {
        let answer = app.client.get("/v1/auth/me").await;
        let renewed = life(answer.header("x-access-token").unwrap());
        (1..=100).contains(&renewed).then_some(())
    })
    .await;
}

#[tokio::test]
async fn in_dev_a_token_lives_a_day_and_is_not_renewed() {
    let app = App::spawn().await;
    let config = app.dir.path().join("api.toml");
    let args = ["--config", config.to_str().unwrap(), "serve"];
    let mut dev = Process::start("holdfast-api", &args, app.dir.path(), "api-dev", &[("HOLDFAST__HTTP__MODE", "dev")]);
    let listening = dev.says("listening").await;
    let client = Client::new(format!("http://{}", listening["address"].as_str().unwrap()));
    let client = client.login("root", ADMIN_PASSWORD).await;
    // It ends with its session, which was opened a moment before: perhaps in the second before.
    let life = life(client.token.as_ref().unwrap());
    assert!((24 * 3600 - 5..=24 * 3600).contains(&life), "a token of {life} s");
    let me = client.get("/v1/auth/me").await;
    assert_eq!((me.status.as_u16(), me.header("x-access-token")), (200, None));
}

#[tokio::test]
async fn no_answer_is_for_a_cache_to_keep() {
    let app = App::spawn().await;
    let (client, nobody) = (&app.client, app.client.anonymous());
    let login = json!({ "name": "root", "password": ADMIN_PASSWORD });
    for (answer, status) in [
        (nobody.get("/healthz").await, 200),
        (nobody.get("/readyz").await, 200),
        (nobody.post("/v1/auth/login", login).await, 200),
        (nobody.get("/v1/auth/me").await, 401),
        (nobody.post("/v1/auth/login", json!({ "name": "root", "password": "wrong" })).await, 401),
        (client.get("/v1/auth/me").await, 200),
        (client.post("/v1/tokens", json!({ "name": "a", "role": "viewer" })).await, 201),
        (client.get("/v1/tokens").await, 200),
        (client.post("/v1/tokens", json!({ "name": "a" })).await, 422),
        (client.get("/v1/nothing").await, 404),
        (client.patch("/v1/auth/me", json!({})).await, 405),
        (client.post("/v1/auth/logout", Value::Null).await, 204),
    ] {
        assert_eq!(
            (answer.status.as_u16(), answer.header("cache-control")),
            (status, Some("no-store")),
            "{}",
            answer.text
        );
    }
}
