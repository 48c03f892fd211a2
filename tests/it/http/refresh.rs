//! Refresh tokens: each works once, one that comes again ends its session, none outlives it. And the sessions themselves.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use support::{
    ADMIN_PASSWORD, Answer, App, Client,
    invariants::{everything, forms},
};

use super::cast;

async fn login(app: &App, name: &str) -> Value {
    let body = json!({ "name": name, "password": ADMIN_PASSWORD });
    app.client.anonymous().post("/v1/auth/login", body).await.expect(200)
}

async fn refresh(app: &App, token: &str) -> Answer {
    app.client.anonymous().post("/v1/auth/refresh", json!({ "refresh_token": token })).await
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("no {name}: {body}"))
}

/// The client with a login's access token, and the refresh token.
fn pair(app: &App, body: &Value) -> (Client, String) {
    (app.client.with_token(text(body, "access_token")), text(body, "refresh_token").to_owned())
}

async fn session(client: &Client) -> String {
    text(&client.get("/v1/auth/me").await.expect(200), "session_id").to_owned()
}

/// What is the same in all refusals.
fn refusal(answer: &Answer) -> (u16, Value) {
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap_or_else(|| panic!("{}", answer.text)).remove("request_id");
    (answer.status.as_u16(), body)
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_for_the_next_and_stored_nowhere() {
    let app = App::spawn().await;
    let first = login(&app, "root").await;
    let (client, mut token) = pair(&app, &first);
    let id = session(&client).await;
    let mut seen = vec![token.clone()];
    for _ in 0..3 {
        let answer = refresh(&app, &token).await;
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let body = answer.expect(200);
        assert_eq!(
            (&body["token_type"], &body["session_expires_at"]),
            (&json!("Bearer"), &first["session_expires_at"])
        );
        let (client, next) = pair(&app, &body);
        assert_eq!(session(&client).await, id, "the session is another one");
        assert!(next.starts_with("hfr_") && next.len() == 53 && !seen.contains(&next), "{next}");
        token = next;
        seen.push(token.clone());
    }
    // The access tokens of before live on as long as they were to.
    client.get("/v1/auth/me").await.expect(200);
    let audited = format!(
        "SELECT count(*) FROM audit WHERE action = 'auth.refresh' AND outcome = 'allowed' AND admin_name = 'root' AND resource_id = '{id}'"
    );
    assert_eq!(app.value::<i64>(&audited).await, 3);
    let (rows, logs) = (everything(&app).await, app.logs());
    for secret in &seen {
        for (form, text) in forms(secret) {
            assert!(!rows.contains(&text) && !logs.contains(&text), "a refresh token stands {form} in rows or logs");
        }
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_again_ends_its_session_and_no_other() {
    let app = App::spawn().await;
    let other = app.client.login("root", ADMIN_PASSWORD).await;
    let (first, stolen) = pair(&app, &login(&app, "root").await);
    let id = session(&first).await;
    let (second, next) = pair(&app, &refresh(&app, &stolen).await.expect(200));
    second.get("/v1/auth/me").await.expect(200);

    let refused = refresh(&app, &stolen).await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    let refused = refused.expect(401);
    // Whoever holds the successor, thief or owner, is out too, and so is every access token.
    assert_eq!(refresh(&app, &next).await.expect(401)["detail"], refused["detail"]);
    first.get("/v1/auth/me").await.expect(401);
    second.get("/v1/auth/me").await.expect(401);
    other.get("/v1/auth/me").await.expect(200);

    // Told once, however often it comes.
    refresh(&app, &stolen).await.expect(401);
    let audited = format!(
        "SELECT count(*) FROM audit WHERE action = 'session.reused' AND outcome = 'denied' AND admin_name = 'root' AND resource_id = '{id}'"
    );
    assert_eq!(app.value::<i64>(&audited).await, 1);
    let event = "SELECT jsonb_build_object('subject', subject, 'data', data) FROM outbox WHERE type = 'session.reused'";
    let events: Vec<Value> = app.values(event).await;
    assert_eq!((events.len(), &events[0]["subject"]), (1, &json!(format!("sessions/{id}"))));
    assert_eq!(events[0]["data"]["session_id"], json!(id));
}

#[tokio::test]
async fn of_many_who_bring_one_token_at_once_one_gets_the_next_and_the_session_ends() {
    let app = App::spawn().await;
    let (client, token) = pair(&app, &login(&app, "root").await);
    let answers = join_all((0..12).map(|_| refresh(&app, &token))).await;
    let good: Vec<&Answer> = answers.iter().filter(|answer| answer.status.as_u16() == 200).collect();
    assert_eq!(good.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status.as_u16() == 401).count(), 11);
    client.get("/v1/auth/me").await.expect(401);
    refresh(&app, text(&good[0].body, "refresh_token")).await.expect(401);
}

#[tokio::test]
async fn every_refresh_that_is_refused_is_refused_in_the_same_words() {
    let app = App::spawn().await;
    let (_, good) = pair(&app, &login(&app, "root").await);
    let unknown = {
        // Right in every letter, and nobody's: the row it stood for is gone.
        let (client, token) = pair(&app, &login(&app, "root").await);
        let id = session(&client).await;
        app.execute(&format!("DELETE FROM refresh_tokens WHERE session_id = '{id}'")).await;
        token
    };
    let expected = refusal(&refresh(&app, &unknown).await);
    assert_eq!((expected.0, expected.1["type"].as_str()), (401, Some("urn:holdfast:problem:unauthorized")));

    let (logged_out, of_logged_out) = pair(&app, &login(&app, "root").await);
    logged_out.post("/v1/auth/logout", Value::Null).await.expect(204);
    let (over, of_over) = pair(&app, &login(&app, "root").await);
    let id = session(&over).await;
    app.execute(&format!("UPDATE sessions SET expires_at = now() WHERE id = '{id}'")).await;
    cast::admin(&app, "gone", &[("viewer", None)]).await;
    let (_, of_gone) = pair(&app, &login(&app, "gone").await);
    app.execute("UPDATE admins SET disabled_at = now() WHERE name = 'gone'").await;
    let (access, used) = pair(&app, &login(&app, "root").await);
    refresh(&app, &used).await.expect(200);
    let api_token = app.client.post("/v1/tokens", json!({ "name": "a", "role": "viewer" })).await.expect(201);
    for (what, bad) in [
        ("nothing", ""),
        ("a word", "token"),
        ("another letter", &good.replace(&good[10..11], if &good[10..11] == "x" { "y" } else { "x" })),
        ("cut", &good[..52]),
        ("a blank before it", &format!(" {good}")),
        ("100 KB less", &"A".repeat(50_000)),
        ("of a session that was logged out", &of_logged_out),
        ("of a session that is over", &of_over),
        ("of an admin who is disabled", &of_gone),
        ("an access token", access.token.as_ref().unwrap()),
        ("an api token", text(&api_token, "token")),
        ("used", &used),
    ] {
        assert_eq!(refusal(&refresh(&app, bad).await), expected, "{what}");
    }
    for body in [json!({}), json!({ "refresh_token": 1 }), json!({ "refresh_token": good, "x": 1 })] {
        app.client.anonymous().post("/v1/auth/refresh", body).await.expect(422);
    }
    // None of it has hurt the good one, and it cannot be presented as an access token.
    let bearer = app.client.with_token(&good).get("/v1/auth/me").await.expect(401);
    assert_eq!(bearer["detail"], app.client.anonymous().get("/v1/auth/me").await.expect(401)["detail"]);
    refresh(&app, &good).await.expect(200);
}

#[tokio::test]
async fn no_refresh_goes_past_the_end_of_the_session() {
    let app = App::spawn().await;
    let (client, token) = pair(&app, &login(&app, "root").await);
    let id = session(&client).await;
    let hours =
        format!("SELECT extract(epoch FROM expires_at - created_at)::float8 / 3600 FROM sessions WHERE id = '{id}'");
    let hours: f64 = app.value(&hours).await;
    assert!((11.99..=12.01).contains(&hours), "a session of {hours} hours");
    app.execute(&format!("UPDATE sessions SET expires_at = now() + interval '100 s' WHERE id = '{id}'")).await;
    let end: String = app
        .value(&format!(
            "SELECT to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') FROM sessions WHERE id = '{id}'"
        ))
        .await;
    let body = refresh(&app, &token).await.expect(200);
    assert!(text(&body, "session_expires_at").starts_with(&end), "{end}: {body}");
    assert!(text(&body, "expires_at")[..19] <= end[..], "{body}");
    app.execute(&format!("UPDATE sessions SET expires_at = now() WHERE id = '{id}'")).await;
    refresh(&app, text(&body, "refresh_token")).await.expect(401);
    // To come too late is no theft: nobody is told of one.
    assert_eq!(app.value::<i64>("SELECT count(*) FROM outbox WHERE type = 'session.reused'").await, 0);
}

#[tokio::test]
async fn sessions_are_listed_ended_one_by_one_and_all_at_once() {
    let app = App::spawn().await;
    let (mine, my_refresh) = pair(&app, &login(&app, "root").await);
    let (lost, lost_refresh) = pair(&app, &login(&app, "root").await);
    let viewer = cast::admin(&app, "viewer", &[("viewer", None)]).await;
    let (my_id, lost_id, viewer_id) = (session(&mine).await, session(&lost).await, session(&viewer).await);
    refresh(&app, &my_refresh).await.expect(200);

    let answer = mine.get("/v1/auth/sessions?limit=2").await;
    assert_eq!(answer.header("x-total-count"), Some("3"));
    assert!(answer.header("link").unwrap().contains("rel=\"next\""));
    let list = answer.expect(200);
    let row =
        |id: &str| list.as_array().unwrap().iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{list:#}"));
    assert_eq!((row(&my_id)["current"].as_bool(), row(&lost_id)["current"].as_bool()), (Some(true), Some(false)));
    assert!(row(&my_id)["refreshed_at"].is_string() && row(&lost_id)["refreshed_at"].is_null(), "{list:#}");
    assert_eq!(row(&lost_id)["address"], "127.0.0.1");
    assert!(!list.to_string().contains(&viewer_id));

    mine.delete(&format!("/v1/auth/sessions/{lost_id}")).await.expect(204);
    lost.get("/v1/auth/me").await.expect(401);
    refresh(&app, &lost_refresh).await.expect(401);
    mine.delete(&format!("/v1/auth/sessions/{lost_id}")).await.expect(404);
    mine.get("/v1/auth/me").await.expect(200);

    // Others' are a super's business alone.
    let hidden = viewer.delete(&format!("/v1/auth/sessions/{my_id}")).await.expect(404);
    let missing = viewer.delete("/v1/auth/sessions/00000000-0000-7000-8000-000000000000").await.expect(404);
    assert_eq!(hidden["detail"], missing["detail"]);
    mine.get("/v1/auth/me").await.expect(200);
    let root = text(&mine.get("/v1/auth/me").await.expect(200), "id").to_owned();
    viewer.get(&format!("/v1/auth/sessions?admin={root}")).await.expect(403);
    let viewers = text(&viewer.get("/v1/auth/me").await.expect(200), "id").to_owned();
    let list = mine.get(&format!("/v1/auth/sessions?admin={viewers}")).await.expect(200);
    assert_eq!((list.as_array().unwrap().len(), &list[0]["id"]), (1, &json!(viewer_id)));
    mine.delete(&format!("/v1/auth/sessions/{viewer_id}")).await.expect(204);
    viewer.get("/v1/auth/me").await.expect(401);

    let viewer = app.client.login("viewer", ADMIN_PASSWORD).await;
    mine.post("/v1/auth/logout-everywhere", Value::Null).await.expect(204);
    for client in [&mine, &app.client] {
        client.get("/v1/auth/me").await.expect(401);
    }
    viewer.get("/v1/auth/me").await.expect(200);
    let ended: Value = app.value("SELECT detail FROM audit WHERE action = 'auth.logout_everywhere'").await;
    assert_eq!(ended, json!({ "sessions": 2 }));
}

#[tokio::test]
async fn a_disabled_admin_and_a_changed_role_act_within_five_seconds() {
    let app = App::spawn().await;
    let (client, token) = {
        cast::admin(&app, "former", &[("admin", None)]).await;
        pair(&app, &login(&app, "former").await)
    };
    client.get("/v1/servers").await.expect(200);
    let id = "(SELECT id FROM admins WHERE name = 'former')";
    let promise = std::time::Duration::from_secs(5);
    let becomes = |status: u16| {
        let client = client.clone();
        let path = "/v1/servers";
        support::wait::within(promise, "the change acts", move || {
            let client = client.clone();
            async move {
                let answer = client.send(client.request(Method::GET, path)).await;
                (answer.status.as_u16() == status).then_some(())
            }
        })
    };
    app.execute(&format!("UPDATE admin_roles SET role = 'viewer', service_id = NULL WHERE admin_id = {id}")).await;
    let server = json!({ "name": "s", "engine": "postgres", "host": "127.0.0.1" });
    client.post("/v1/servers", server).await.expect(403);
    app.execute(&format!("DELETE FROM admin_roles WHERE admin_id = {id}")).await;
    becomes(403).await;
    app.execute(&format!("INSERT INTO admin_roles (admin_id, role) VALUES ({id}, 'viewer')")).await;
    becomes(200).await;
    app.execute("UPDATE admins SET disabled_at = now() WHERE name = 'former'").await;
    becomes(401).await;
    refresh(&app, &token).await.expect(401);
    app.execute("UPDATE admins SET disabled_at = NULL, token_version = token_version + 1 WHERE name = 'former'").await;
    client.get("/v1/servers").await.expect(401);
}
