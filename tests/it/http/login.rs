//! Logging in and out.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, Answer, App, Client, until};

use super::cast;

async fn login(app: &App, name: &str, password: &str) -> Answer {
    app.client.anonymous().post("/v1/auth/login", json!({ "name": name, "password": password })).await
}

/// The body without what differs by design.
fn same(answer: &Answer) -> (u16, Value) {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap().remove("request_id");
    (answer.status.as_u16(), body)
}

#[tokio::test]
async fn whoever_is_refused_learns_nothing_of_why() {
    let app = App::spawn().await;
    cast::admin(&app, "gone", &[("viewer", None)]).await;
    sqlx::query("UPDATE admins SET disabled_at = now() WHERE name = 'gone'").execute(&app.pool).await.unwrap();
    let wrong = login(&app, "root", "not the password").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("www-authenticate")), (401, Some("Bearer")));
    for (name, password) in [("nobody", "not the password"), ("gone", ADMIN_PASSWORD), ("root", ""), ("", "x")] {
        assert_eq!(same(&login(&app, name, password).await), same(&wrong), "{name:?}");
    }
    let long = "x".repeat(50_000);
    assert_eq!(same(&login(&app, "root", &long).await), same(&wrong), "a long password");
    let right = login(&app, "ROOT", ADMIN_PASSWORD).await.expect(200);
    assert_eq!(right["token_type"], "Bearer");
    for (name, count) in [("root", 3), ("nobody", 1), ("gone", 1), ("", 1)] {
        let sql = format!(
            "SELECT count(*) FROM audit WHERE action = 'auth.login' AND outcome = 'denied' AND admin_name = '{name}'"
        );
        assert_eq!(app.value::<i64>(&sql).await, count, "{name:?}");
    }
}

#[tokio::test]
async fn the_eleventh_wrong_password_has_to_wait_whoever_it_is_for() {
    let app = App::spawn().await;
    for name in ["root", "nobody"] {
        for _ in 0..10 {
            login(&app, name, "wrong").await.expect(401);
        }
        // The right one too: a guess must not be told from a hit.
        for password in ["wrong", ADMIN_PASSWORD] {
            let answer = login(&app, name, password).await;
            let wait: u64 = answer.header("retry-after").unwrap_or_else(|| panic!("{}", answer.text)).parse().unwrap();
            assert!((1..=900).contains(&wait), "{wait}");
            assert_eq!(answer.expect(429)["type"], "urn:holdfast:problem:too-many-requests");
        }
    }
    // The window is over.
    sqlx::query("UPDATE login_failures SET at = at - interval '16 minutes'").execute(&app.pool).await.unwrap();
    login(&app, "root", ADMIN_PASSWORD).await.expect(200);
}

#[tokio::test]
async fn guesses_in_parallel_are_counted_one_by_one() {
    let app = App::spawn().await;
    let guesses = futures_util::future::join_all((0..40).map(|_| login(&app, "root", "wrong"))).await;
    let tried = guesses.iter().filter(|answer| answer.status.as_u16() == 401).count();
    assert_eq!(tried, 10);
    assert_eq!(guesses.iter().filter(|answer| answer.status.as_u16() == 429).count(), 30);
}

#[tokio::test]
async fn a_session_ends_by_logout_by_its_time_and_with_its_admin() {
    let app = App::spawn().await;
    let client = app.client.login("root", ADMIN_PASSWORD).await;
    let me = client.get("/v1/auth/me").await.expect(200);
    assert_eq!((&me["name"], &me["roles"][0]["role"]), (&json!("root"), &json!("super")));
    client.post("/v1/auth/logout", Value::Null).await.expect(204);
    client.get("/v1/auth/me").await.expect(401);
    client.post("/v1/auth/logout", Value::Null).await.expect(401);
    app.client.get("/v1/auth/me").await.expect(200);
    let sql = format!(
        "SELECT outcome FROM audit WHERE action = 'auth.logout' AND resource_id = '{}'",
        me["session_id"].as_str().unwrap()
    );
    assert_eq!(app.value::<String>(&sql).await, "allowed");

    let client = app.client.login("root", ADMIN_PASSWORD).await;
    let session = client.get("/v1/auth/me").await.expect(200)["session_id"].as_str().unwrap().to_owned();
    let over = "UPDATE sessions SET expires_at = now() WHERE id = $1::uuid";
    sqlx::query(over).bind(&session).execute(&app.pool).await.unwrap();
    soon(&client, "/v1/auth/me", 401).await;

    let client = cast::admin(&app, "viewer", &[("viewer", None)]).await;
    client.get("/v1/servers").await.expect(200);
    sqlx::query("DELETE FROM admin_roles WHERE admin_id = (SELECT id FROM admins WHERE name = 'viewer')")
        .execute(&app.pool)
        .await
        .unwrap();
    soon(&client, "/v1/servers", 403).await;
    sqlx::query("UPDATE admins SET disabled_at = now() WHERE name = 'viewer'").execute(&app.pool).await.unwrap();
    soon(&client, "/v1/auth/me", 401).await;
}

/// What the process was not told of it sees within five seconds (guarantee G3).
async fn soon(client: &Client, path: &str, status: u16) {
    let asked = Instant::now();
    until(&format!("{path} is answered {status}"), || async {
        (client.get(path).await.status == status).then_some(())
    })
    .await;
    assert!(asked.elapsed() < Duration::from_secs(5), "guarantee G3");
}

#[tokio::test]
async fn another_process_believes_who_has_logged_out_for_a_moment_and_lets_them_change_nothing() {
    let app = App::spawn().await;
    let (_api, other) = cast::another_api(&app, "api-other", &[]).await;
    other.get("/v1/auth/me").await.expect(200);
    app.client.post("/v1/auth/logout", Value::Null).await.expect(204);
    // Its own process has forgotten them, and a change asks in any.
    app.client.get("/v1/auth/me").await.expect(401);
    other.post("/v1/services", json!({ "name": "late" })).await.expect(401);
    soon(&other, "/v1/auth/me", 401).await;
    let services: i64 = app.value("SELECT count(*) FROM services").await;
    assert_eq!(services, 0);
}
