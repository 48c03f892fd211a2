//! Who may call what: every route of the router against every kind of caller (guarantees G1). A route that the table
//! lacks fails the test, and so does a cell that is not as written.

use reqwest::Method;
use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, Answer, App, Client, Database, stack};

use super::cast::{self, Paper};

/// In the order of a row's cells. The first four roles are for one service alone; `theirs` is admin of another service;
/// `global` is admin of everything.
const CALLERS: [&str; 7] = ["nobody", "viewer", "operator", "admin", "theirs", "global", "super"];

pub(super) type Row = (&'static str, &'static str, [u16; 7]);

/// What each caller is answered. `409`: permitted, and not possible while others refer to it.
pub(super) const TABLE: &[Row] = &[
    ("get", "/healthz", [200, 200, 200, 200, 200, 200, 200]),
    ("get", "/readyz", [200, 200, 200, 200, 200, 200, 200]),
    ("get", "/openapi.json", [200, 200, 200, 200, 200, 200, 200]),
    ("get", "/docs", [200, 200, 200, 200, 200, 200, 200]),
    ("get", "/docs/{file}", [200, 200, 200, 200, 200, 200, 200]),
    ("post", "/v1/auth/login", [200, 200, 200, 200, 200, 200, 200]),
    // With what is no refresh token: whose access token comes with it does not matter.
    ("post", "/v1/auth/refresh", [401, 401, 401, 401, 401, 401, 401]),
    ("post", "/v1/auth/logout", [401, 204, 204, 204, 204, 204, 204]),
    ("post", "/v1/auth/logout-everywhere", [401, 204, 204, 204, 204, 204, 204]),
    ("get", "/v1/auth/sessions", [401, 200, 200, 200, 200, 200, 200]),
    ("delete", "/v1/auth/sessions/{id}", [401, 404, 404, 404, 404, 404, 204]),
    ("get", "/v1/auth/me", [401, 200, 200, 200, 200, 200, 200]),
    ("get", "/v1/tokens", [401, 200, 200, 200, 200, 200, 200]),
    ("post", "/v1/tokens", [401, 201, 201, 201, 201, 201, 201]),
    ("get", "/v1/tokens/{id}", [401, 404, 404, 404, 404, 404, 200]),
    ("delete", "/v1/tokens/{id}", [401, 404, 404, 404, 404, 404, 204]),
    ("get", "/v1/services", [401, 200, 200, 200, 200, 200, 200]),
    ("post", "/v1/services", [401, 403, 403, 403, 403, 201, 201]),
    ("get", "/v1/services/{id}", [401, 200, 200, 200, 404, 200, 200]),
    ("patch", "/v1/services/{id}", [401, 403, 403, 200, 404, 200, 200]),
    ("delete", "/v1/services/{id}", [401, 403, 403, 409, 404, 409, 409]),
    ("post", "/v1/services/{id}/backups", [401, 403, 202, 202, 404, 202, 202]),
    ("get", "/v1/servers", [401, 403, 403, 403, 403, 200, 200]),
    ("post", "/v1/servers", [401, 403, 403, 403, 403, 201, 201]),
    ("get", "/v1/servers/{id}", [401, 403, 403, 403, 403, 200, 200]),
    ("patch", "/v1/servers/{id}", [401, 403, 403, 403, 403, 200, 200]),
    ("delete", "/v1/servers/{id}", [401, 403, 403, 403, 403, 409, 409]),
    ("get", "/v1/credentials", [401, 403, 403, 403, 403, 200, 200]),
    ("post", "/v1/credentials", [401, 403, 403, 403, 403, 201, 201]),
    ("get", "/v1/credentials/{id}", [401, 403, 403, 403, 403, 200, 200]),
    ("patch", "/v1/credentials/{id}", [401, 403, 403, 403, 403, 200, 200]),
    ("delete", "/v1/credentials/{id}", [401, 403, 403, 403, 403, 409, 409]),
    ("get", "/v1/targets", [401, 200, 200, 200, 200, 200, 200]),
    ("post", "/v1/targets", [401, 403, 403, 403, 403, 201, 201]),
    ("get", "/v1/targets/{id}", [401, 200, 200, 200, 404, 200, 200]),
    ("patch", "/v1/targets/{id}", [401, 403, 403, 200, 404, 200, 200]),
    ("delete", "/v1/targets/{id}", [401, 403, 403, 409, 404, 409, 409]),
    ("post", "/v1/targets/{id}/probe", [401, 403, 202, 202, 404, 202, 202]),
    ("post", "/v1/targets/{id}/backups", [401, 403, 202, 202, 404, 202, 202]),
    ("get", "/v1/saves", [401, 200, 200, 200, 200, 200, 200]),
    ("get", "/v1/saves/report", [401, 200, 200, 200, 200, 200, 200]),
    ("get", "/v1/saves/{id}", [401, 200, 200, 200, 404, 200, 200]),
    ("patch", "/v1/saves/{id}", [401, 403, 200, 200, 404, 200, 200]),
    // Nothing runs that could carry the bytes.
    ("get", "/v1/saves/{id}/content", [401, 403, 403, 503, 404, 503, 503]),
    ("post", "/v1/saves/{id}/restore", [401, 403, 202, 202, 404, 202, 202]),
    ("post", "/v1/saves/{id}/verify", [401, 403, 202, 202, 404, 202, 202]),
    ("post", "/v1/saves/{id}/copies", [401, 403, 409, 409, 404, 409, 409]),
    ("post", "/v1/saves/{id}/accept", [401, 403, 403, 409, 404, 409, 409]),
    ("delete", "/v1/saves/{id}", [401, 403, 403, 409, 404, 409, 409]),
    ("post", "/v1/gc", [401, 403, 403, 403, 403, 202, 202]),
    ("get", "/v1/jobs", [401, 200, 200, 200, 200, 200, 200]),
    ("get", "/v1/jobs/{id}", [401, 200, 200, 200, 404, 200, 200]),
    ("get", "/v1/jobs/{id}/history", [401, 200, 200, 200, 404, 200, 200]),
    ("get", "/v1/jobs/{id}/events", [401, 200, 200, 200, 404, 200, 200]),
    ("post", "/v1/jobs/{id}/cancel", [401, 403, 200, 200, 404, 200, 200]),
    ("post", "/v1/jobs/{id}/retry", [401, 403, 202, 202, 404, 202, 202]),
    ("post", "/v1/jobs/{id}/undo", [401, 403, 403, 409, 404, 409, 409]),
    ("get", "/v1/groups/{id}", [401, 200, 200, 200, 404, 200, 200]),
    ("get", "/v1/events", [401, 200, 200, 200, 200, 200, 200]),
    ("get", "/v1/audit", [401, 403, 403, 200, 200, 200, 200]),
    ("get", "/v1/audit/export", [401, 403, 403, 200, 200, 200, 200]),
    ("get", "/v1/config", [401, 403, 403, 403, 403, 200, 200]),
];

#[test]
fn the_table_has_every_route_of_the_router_and_no_other() {
    let table: Vec<(&str, &str)> = TABLE.iter().map(|(method, path, _)| (*method, *path)).collect();
    for route in api::routes::ROUTES {
        assert!(table.contains(route), "{route:?} has no row: say who may call it");
    }
    for route in &table {
        assert!(api::routes::ROUTES.contains(route), "{route:?} is no route");
    }
}

/// What is reached for: a service with a target, a save of it and an ended job.
struct Things {
    service: String,
    server: String,
    credential: String,
    target: String,
    save: String,
    job: String,
    group: String,
    /// Of the first admin, as is the token.
    session: String,
    token: String,
}

async fn things(app: &mut App, database: &Database) -> Things {
    let target = app.target(database).await;
    let mut worker = app.worker("a").await;
    let save = app.saved(&target).await;
    // From here on nothing runs: what is queued stays queued.
    assert!(worker.stop().await.success());
    let job = app.backup(&target).await;
    app.client.post(&format!("/v1/jobs/{job}/cancel"), Value::Null).await.expect(200);
    let group = app
        .value(&format!("UPDATE jobs SET group_id = gen_random_uuid() WHERE id = '{job}' RETURNING group_id::text"))
        .await;
    let row = app.client.get(&format!("/v1/targets/{target}")).await.expect(200);
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    let (service, server, credential) = (text("service_id"), text("server_id"), text("backup_credential_id"));
    let session = app.client.login("root", ADMIN_PASSWORD).await.get("/v1/auth/me").await.expect(200);
    let session = session["session_id"].as_str().unwrap().to_owned();
    let token = app.client.post("/v1/tokens", json!({ "name": "matrix", "role": "viewer" })).await.id();
    Things { service, server, credential, target, save, job, group, session, token }
}

impl Things {
    fn path(&self, route: &str) -> String {
        let of = |prefix: &str| route.starts_with(prefix);
        let id = match () {
            () if of("/v1/services/") => &self.service,
            () if of("/v1/servers/") => &self.server,
            () if of("/v1/credentials/") => &self.credential,
            () if of("/v1/targets/") => &self.target,
            () if of("/v1/saves/") => &self.save,
            () if of("/v1/groups/") => &self.group,
            () if of("/v1/auth/sessions/") => &self.session,
            () if of("/v1/tokens/") => &self.token,
            () => &self.job,
        };
        route.replace("{id}", id).replace("{file}", "swagger-ui.css")
    }

    /// A body that is right, so that nothing but the permission can refuse it.
    fn body(&self, method: &str, route: &str) -> Option<Value> {
        let name = stack::fresh("m").replace('_', "-");
        Some(match (method, route) {
            ("post", "/v1/auth/login") => json!({ "name": "root", "password": ADMIN_PASSWORD }),
            ("post", "/v1/auth/refresh") => json!({ "refresh_token": name }),
            ("post", "/v1/tokens") => json!({ "name": name, "role": "viewer" }),
            ("post", "/v1/saves/{id}/copies") => json!({ "store": "disk" }),
            ("post", "/v1/services") => json!({ "name": name }),
            ("post", "/v1/servers") => json!({ "name": name, "engine": "postgres", "host": "127.0.0.1" }),
            ("post", "/v1/credentials") => json!({ "name": name, "user_name": "u", "password": "p" }),
            ("post", "/v1/targets") => json!({
                "service_id": self.service, "server_id": self.server, "name": name, "database": "d",
                "backup_credential_id": self.credential, "stores": ["disk"],
            }),
            ("post", "/v1/services/{id}/backups" | "/v1/targets/{id}/backups" | "/v1/saves/{id}/verify" | "/v1/gc") => {
                json!({})
            }
            ("post", "/v1/jobs/{id}/undo") => json!({ "confirm": name }),
            ("post", "/v1/saves/{id}/restore") => json!({ "into": { "database": name } }),
            ("patch", "/v1/saves/{id}") => json!({ "note": name }),
            ("patch", "/v1/targets/{id}") => json!({ "deadline_s": 60 }),
            ("patch", "/v1/services/{id}") => json!({ "description": name }),
            ("patch", "/v1/servers/{id}") => json!({ "max_jobs": 3 }),
            ("patch", "/v1/credentials/{id}") => json!({ "password": name }),
            _ => return None,
        })
    }
}

async fn call(client: &Client, method: &str, path: &str, body: Option<Value>, id: &str) -> Answer {
    let method: Method = method.to_uppercase().parse().unwrap();
    let request = client.request(method, path).header("x-request-id", id);
    client
        .send(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
}

#[tokio::test]
async fn every_route_answers_every_caller_as_the_table_says_and_refusals_are_audited() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let things = things(&mut app, &database).await;
    let theirs = Paper::create(&app.client).await;
    let here = Some(things.service.as_str());
    for (name, role, service) in [
        ("viewer", "viewer", here),
        ("operator", "operator", here),
        ("admin", "admin", here),
        ("theirs", "admin", Some(theirs.service.as_str())),
        ("global", "admin", None),
        ("super", "super", None),
    ] {
        cast::admin(&app, name, &[(role, service)]).await;
    }
    let mut wrong = Vec::new();
    for (column, caller) in CALLERS.iter().enumerate() {
        let nobody = app.client.anonymous();
        let client = if *caller == "nobody" { nobody } else { app.client.login(caller, ADMIN_PASSWORD).await };
        // Logging out ends the session, so it comes last.
        let ends = |row: &&Row| row.1.starts_with("/v1/auth/logout");
        let (last, rest): (Vec<&Row>, Vec<&Row>) = TABLE.iter().partition(ends);
        for row in rest.into_iter().chain(last) {
            let (method, route, statuses) = row;
            let again = ends(&row) && *caller != "nobody";
            let client = if again { app.client.login(caller, ADMIN_PASSWORD).await } else { client.clone() };
            let path = things.path(route);
            let id = format!("cell-{caller}-{method}-{}", route.replace(['/', '{', '}'], "."));
            let answer = call(&client, method, &path, things.body(method, route), &id).await;
            let (status, expected) = (answer.status.as_u16(), statuses[column]);
            if status != expected {
                wrong.push(format!("{caller}: {method} {route}: {status} instead of {expected}: {}", answer.text));
            }
            let sql = format!("SELECT outcome FROM audit WHERE request_id = '{id}'");
            let audited: Vec<String> = app.values(&sql).await;
            let outcome = match (status, *method) {
                (401 | 403 | 404, _) => vec!["denied"],
                (409, _) => vec!["failed"],
                // What leaves with everything in it is worth knowing of.
                (_, "get") if *route == "/v1/audit/export" => vec!["allowed"],
                (_, "get") => vec![],
                _ => vec!["allowed"],
            };
            if audited != outcome {
                wrong.push(format!("{caller}: {method} {route}: {status} is audited as {audited:?}, not {outcome:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_another_owns_is_as_if_it_were_not_there() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let things = things(&mut app, &database).await;
    let theirs = Paper::create(&app.client).await;
    let client = cast::admin(&app, "theirs", &[("admin", Some(&theirs.service))]).await;
    let nowhere = "00000000-0000-7000-8000-000000000000";
    for (method, route, statuses) in TABLE {
        if statuses[4] != 404 {
            continue;
        }
        let path = things.path(route);
        let hidden = call(&client, method, &path, things.body(method, route), "word-for-word").await;
        let missing = route.replace("{id}", nowhere);
        let missing = call(&client, method, &missing, things.body(method, route), "word-for-word").await;
        assert_eq!((hidden.status, &hidden.text), (missing.status, &missing.text), "{method} {route}");
    }
    // Lists hold own rows alone, whatever is asked for.
    for list in ["/v1/services", "/v1/targets", "/v1/saves", "/v1/jobs", "/v1/events"] {
        let answer = client.get(list).await;
        assert!(!answer.text.contains(&things.service) && !answer.text.contains("items"), "{list}: {}", answer.text);
        let all = app.client.get(list).await;
        assert!(all.body.as_array().unwrap().len() > answer.body.as_array().unwrap().len(), "{list}: {}", all.text);
    }
    let own = client.get("/v1/targets").await.expect(200);
    assert_eq!((own.as_array().unwrap().len(), &own[0]["id"]), (1, &json!(theirs.target)));
    for filter in ["targets?service", "saves?service", "jobs?service"] {
        client.get(&format!("/v1/{filter}={}", things.service)).await.expect(404);
    }
    for filter in ["saves?target", "jobs?target"] {
        let found = client.get(&format!("/v1/{filter}={}", things.target)).await.expect(200);
        assert_eq!(found, json!([]), "{filter}");
    }
    // A restore with somebody else's target is refused in the words for one that is not there.
    let both = cast::admin(&app, "both", &[("operator", Some(&things.service))]).await;
    let mut answers = Vec::new();
    for target in [theirs.target.as_str(), nowhere] {
        let body = json!({ "into": { "target_id": target, "database": "copy" } });
        answers
            .push(both.post(&format!("/v1/saves/{}/restore", things.save), body).await.expect(422)["errors"].clone());
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn only_a_global_admin_may_tie_a_target_to_another_server_or_credential() {
    let app = App::spawn().await;
    let (own, other) = (Paper::create(&app.client).await, Paper::create(&app.client).await);
    let admin = cast::admin(&app, "admin", &[("admin", Some(&own.service))]).await;
    let path = format!("/v1/targets/{}", own.target);
    for body in [
        json!({ "server_id": other.server }),
        json!({ "database": "postgres" }),
        json!({ "backup_credential_id": other.credential }),
        json!({ "restore_credential_id": other.credential }),
        json!({ "restore_credential_id": null }),
        json!({ "worker_group": "far" }),
    ] {
        let refused = admin.patch(&path, body.clone()).await.expect(403);
        assert!(refused["detail"].as_str().unwrap().contains("target.place"), "{body}: {refused}");
    }
    admin.patch(&path, json!({ "name": "renamed", "stores": ["disk"] })).await.expect(200);
    let denied =
        "SELECT count(*) FROM audit WHERE action = 'target.place' AND outcome = 'denied' AND admin_name = 'admin'";
    assert_eq!(app.value::<i64>(denied).await, 6);
}
