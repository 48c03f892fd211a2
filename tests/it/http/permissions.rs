//! Who may call what: every route of the router against every kind of caller (guarantees G1). A route that the table
//! lacks fails the test, and so does a cell that is not as written.

use std::collections::BTreeMap;

use api::rbac::table::{self, Needs};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use ring::hmac;
use serde_json::{Value, json};
use shared::admin::Role;
use support::{ADMIN_PASSWORD, Answer, App, Client, Database, stack};

use super::cast::{self, Paper};

/// In the order of a row's cells. The first four roles are for one service alone; `theirs` is admin of another service;
/// `global` is admin of everything.
const CALLERS: [&str; 7] = ["nobody", "viewer", "operator", "admin", "theirs", "global", "super"];

/// An empty data set; there for each caller to delete.
const DATA_SET: &str = "INSERT INTO data_sets (id, name) VALUES ('019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50', 'matrix')";

pub(super) type Row = (&'static str, &'static str, [u16; 7]);

/// Further callers, who are answered as one of [`CALLERS`] is, but for [`EXCEPTIONS`]. None of the first four has a token that is
/// worth anything any more, whatever their roles; `roleless` may log in and has no role at all; `program` has an API token of a
/// super, for an operator of the service.
const LIKE: &[(&str, &str)] = &[
    ("forged", "nobody"),
    ("expired", "nobody"),
    ("revoked", "nobody"),
    ("disabled", "nobody"),
    ("roleless", "theirs"),
    ("program", "operator"),
];

/// Where a caller of [`LIKE`] is answered otherwise.
const EXCEPTIONS: &[(&str, &str, &str, u16)] = &[
    ("roleless", "get", "/v1/admins", 403),
    ("roleless", "get", "/v1/admins/{id}", 403),
    ("roleless", "get", "/v1/admins/{id}/roles", 403),
    ("roleless", "post", "/v1/admins/{id}/roles", 403),
    ("roleless", "delete", "/v1/admins/{id}/roles/{role}", 403),
    ("roleless", "get", "/v1/audit", 403),
    ("roleless", "get", "/v1/audit/export", 403),
    // It gives no more than its owner has.
    ("roleless", "post", "/v1/tokens", 422),
    // What is people's alone.
    ("program", "post", "/v1/auth/logout", 403),
    ("program", "post", "/v1/auth/logout-everywhere", 403),
    ("program", "get", "/v1/auth/sessions", 403),
    ("program", "delete", "/v1/auth/sessions/{id}", 403),
    ("program", "get", "/v1/tokens", 403),
    ("program", "post", "/v1/tokens", 403),
    ("program", "get", "/v1/tokens/{id}", 403),
    ("program", "delete", "/v1/tokens/{id}", 403),
];

/// What this caller is answered on this row.
fn expected(caller: &str, (method, route, cells): &Row) -> u16 {
    let excepted = EXCEPTIONS.iter().find(|(who, m, r, _)| (who, m, r) == (&caller, method, route));
    let like = LIKE.iter().find(|(who, _)| *who == caller).map_or(caller, |(_, like)| *like);
    let column = CALLERS.iter().position(|name| *name == like).unwrap();
    excepted.map_or(cells[column], |(.., status)| *status)
}

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
    ("get", "/v1/admins", [401, 403, 403, 200, 200, 200, 200]),
    ("post", "/v1/admins", [401, 403, 403, 403, 403, 403, 201]),
    ("get", "/v1/admins/{id}", [401, 403, 403, 200, 404, 200, 200]),
    ("patch", "/v1/admins/{id}", [401, 403, 403, 403, 403, 403, 200]),
    ("delete", "/v1/admins/{id}", [401, 403, 403, 403, 403, 403, 204]),
    ("post", "/v1/admins/{id}/password", [401, 403, 403, 403, 403, 403, 204]),
    ("get", "/v1/admins/{id}/roles", [401, 403, 403, 200, 404, 200, 200]),
    ("post", "/v1/admins/{id}/roles", [401, 403, 403, 200, 404, 200, 200]),
    ("delete", "/v1/admins/{id}/roles/{role}", [401, 403, 403, 204, 404, 204, 204]),
    // Permitted, and this installation has no identity service.
    ("post", "/v1/platform-users", [401, 403, 403, 403, 403, 501, 501]),
    ("get", "/v1/tokens", [401, 200, 200, 200, 200, 200, 200]),
    ("post", "/v1/tokens", [401, 201, 201, 201, 201, 201, 201]),
    ("get", "/v1/tokens/{id}", [401, 404, 404, 404, 404, 404, 200]),
    ("delete", "/v1/tokens/{id}", [401, 404, 404, 404, 404, 404, 204]),
    ("get", "/v1/services", [401, 200, 200, 200, 200, 200, 200]),
    ("post", "/v1/services", [401, 403, 403, 403, 403, 201, 201]),
    ("get", "/v1/services/{id}", [401, 200, 200, 200, 404, 200, 200]),
    ("patch", "/v1/services/{id}", [401, 403, 403, 200, 404, 200, 200]),
    ("delete", "/v1/services/{id}", [401, 403, 403, 409, 404, 409, 409]),
    ("post", "/v1/services/{id}/wipe", [401, 403, 403, 202, 404, 202, 202]),
    ("post", "/v1/services/{id}/backups", [401, 403, 202, 202, 404, 202, 202]),
    ("put", "/v1/services/{id}/broker", [401, 403, 403, 403, 403, 200, 200]),
    ("get", "/v1/services/{id}/broker", [401, 200, 200, 200, 404, 200, 200]),
    ("get", "/v1/services/{id}/broker/definitions", [401, 200, 200, 200, 404, 200, 200]),
    ("delete", "/v1/services/{id}/broker", [401, 403, 403, 403, 403, 204, 204]),
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
    ("post", "/v1/targets/{id}/import", [401, 403, 403, 503, 404, 503, 503]),
    ("post", "/v1/targets/{id}/wipe", [401, 403, 403, 202, 404, 202, 202]),
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
    ("get", "/v1/schedules", [401, 200, 200, 200, 200, 200, 200]),
    ("post", "/v1/schedules", [401, 403, 403, 201, 404, 201, 201]),
    ("get", "/v1/schedules/upcoming", [401, 200, 200, 200, 200, 200, 200]),
    ("get", "/v1/schedules/{id}", [401, 200, 200, 200, 404, 200, 200]),
    ("patch", "/v1/schedules/{id}", [401, 403, 403, 200, 404, 200, 200]),
    ("post", "/v1/schedules/{id}/pause", [401, 403, 403, 200, 404, 200, 200]),
    ("post", "/v1/schedules/{id}/resume", [401, 403, 403, 200, 404, 200, 200]),
    ("post", "/v1/schedules/{id}/run", [401, 403, 202, 202, 404, 202, 202]),
    ("get", "/v1/schedules/{id}/slots", [401, 200, 200, 200, 404, 200, 200]),
    ("get", "/v1/schedules/{id}/upcoming", [401, 200, 200, 200, 404, 200, 200]),
    ("delete", "/v1/schedules/{id}", [401, 403, 403, 204, 404, 204, 204]),
    ("get", "/v1/schedules/{id}/retention", [401, 200, 200, 200, 404, 200, 200]),
    // They cross services.
    ("get", "/v1/data-sets", [401, 403, 403, 403, 403, 200, 200]),
    ("post", "/v1/data-sets", [401, 403, 403, 403, 403, 422, 422]),
    ("get", "/v1/data-sets/{id}", [401, 403, 403, 403, 403, 200, 200]),
    ("post", "/v1/data-sets/{id}/restore", [401, 403, 403, 403, 403, 422, 422]),
    ("delete", "/v1/data-sets/{id}", [401, 403, 403, 403, 403, 204, 204]),
    ("get", "/v1/data-set-restores", [401, 403, 403, 403, 403, 200, 200]),
    ("get", "/v1/data-set-restores/{id}", [401, 403, 403, 403, 403, 200, 200]),
    ("post", "/v1/data-set-restores/{id}/resume", [401, 403, 403, 403, 403, 409, 409]),
    ("post", "/v1/data-set-restores/{id}/undo", [401, 403, 403, 403, 403, 409, 409]),
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
    ("get", "/v1/stats", [401, 200, 200, 200, 200, 200, 200]),
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

#[test]
fn the_table_says_what_the_page_of_permissions_says() {
    for (method, path, cells) in TABLE {
        let of = table::needs(method, path).unwrap_or_else(|| panic!("{method} {path}: rbac/table.rs lacks it"));
        let cell = |caller: &str| cells[CALLERS.iter().position(|name| *name == caller).unwrap()];
        let place = format!("{method} {path}: {of:?} {cells:?}");
        match of {
            Needs::Nothing => assert!(cells.iter().all(|cell| *cell == cells[0]), "{place}"),
            Needs::Login => {
                assert!(cells[0] == 401 && cells[1..].iter().all(|cell| ![401, 403, 404].contains(cell)), "{place}");
            }
            Needs::Own(_) => {
                assert!(cells[0] == 401 && cells[1..].iter().all(|cell| ![401, 403].contains(cell)), "{place}");
            }
            Needs::Of(permissions) => {
                let (least, global) = (permissions[0].least(), table::is_global(permissions[0]));
                assert_eq!(cells[0], 401, "{place}");
                for (caller, role) in [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin", Role::Admin)] {
                    assert_eq!(cell(caller) != 403, !global && role >= least, "{caller}: {place}");
                }
                assert_eq!(cell("theirs") != 403, !global && Role::Admin >= least, "theirs: {place}");
                assert_eq!(cell("global") != 403, Role::Admin >= least, "global: {place}");
                assert!(![401, 403, 404].contains(&cell("super")), "super: {place}");
            }
        }
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
    schedule: String,
    data_set: String,
    /// An admin with roles for the service, and another for whoever may delete one.
    colleague: String,
    leaver: String,
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
    app.execute(&format!(
        "INSERT INTO brokers (service_id, url, credential_id) VALUES ('{service}', 'https://broker.example.org', '{credential}');
         INSERT INTO broker_definitions (service_id, url, vhost, sha256, definitions)
         VALUES ('{service}', 'https://broker.example.org', '/', sha256('{{}}'), '{{}}')"
    ))
    .await;
    let admin = |name: &str| {
        let role = |role: &str| json!({ "role": role, "service_id": service });
        let roles = [role("viewer"), role("operator")];
        app.client.post("/v1/admins", json!({ "name": name, "password": ADMIN_PASSWORD, "roles": roles }))
    };
    let (colleague, leaver) = (admin("colleague").await.id(), admin("leaver").await.id());
    let session = app.client.login("root", ADMIN_PASSWORD).await.get("/v1/auth/me").await.expect(200);
    let session = session["session_id"].as_str().unwrap().to_owned();
    let token = app.client.post("/v1/tokens", json!({ "name": "matrix", "role": "viewer" })).await.id();
    let schedule = json!({ "name": "matrix", "covers": "target", "target_id": target, "expression": "@yearly", "retention": { "last": 1 } });
    let schedule = app.client.post("/v1/schedules", schedule).await.id();
    let data_set = app.value(&format!("{DATA_SET} RETURNING id::text")).await;
    app.execute(&format!(
        "INSERT INTO data_set_restores (group_id, data_set_id, name, state, dry_run, safety, keep_old_s, finished_at)
         VALUES ('{data_set}', '{data_set}', 'matrix', 'failed', false, true, 3600, now())"
    ))
    .await;
    Things {
        service,
        server,
        credential,
        target,
        save,
        job,
        schedule,
        data_set,
        colleague,
        leaver,
        group,
        session,
        token,
    }
}

impl Things {
    fn path(&self, method: &str, route: &str) -> String {
        let of = |prefix: &str| route.starts_with(prefix);
        let id = match () {
            () if (method, route) == ("delete", "/v1/admins/{id}") => &self.leaver,
            () if of("/v1/admins/") => &self.colleague,
            () if of("/v1/services/") => &self.service,
            () if of("/v1/servers/") => &self.server,
            () if of("/v1/credentials/") => &self.credential,
            () if of("/v1/targets/") => &self.target,
            () if of("/v1/saves/") => &self.save,
            () if of("/v1/schedules/") => &self.schedule,
            () if of("/v1/data-sets/") || of("/v1/data-set-restores/") => &self.data_set,
            () if of("/v1/groups/") => &self.group,
            () if of("/v1/auth/sessions/") => &self.session,
            () if of("/v1/tokens/") => &self.token,
            () => &self.job,
        };
        self.path_to(route, id)
    }

    fn path_to(&self, route: &str, id: &str) -> String {
        let role = format!("viewer?service={}", self.service);
        route.replace("{id}", id).replace("{role}", &role).replace("{file}", "swagger-ui.css")
    }

    /// A body that is right, so that nothing but the permission can refuse it.
    fn body(&self, method: &str, route: &str) -> Option<Value> {
        let name = stack::fresh("m").replace('_', "-");
        Some(match (method, route) {
            ("post", "/v1/auth/login") => json!({ "name": "root", "password": ADMIN_PASSWORD }),
            ("post", "/v1/admins") => json!({ "name": name, "password": ADMIN_PASSWORD }),
            ("post", "/v1/admins/{id}/password") => json!({ "password": ADMIN_PASSWORD }),
            ("post", "/v1/admins/{id}/roles") => json!({ "role": "viewer", "service_id": self.service }),
            ("patch", "/v1/admins/{id}") => json!({ "disabled": false }),
            ("post", "/v1/platform-users") => json!({ "user_name": name, "email": "user@example.org" }),
            ("post", "/v1/auth/refresh") => json!({ "refresh_token": name }),
            ("post", "/v1/tokens") => json!({ "name": name, "role": "viewer" }),
            ("post", "/v1/saves/{id}/copies") => json!({ "store": "disk" }),
            ("post", "/v1/services" | "/v1/data-sets") => json!({ "name": name }),
            ("post", "/v1/servers") => json!({ "name": name, "engine": "postgres", "host": "127.0.0.1" }),
            ("post", "/v1/credentials") => json!({ "name": name, "user_name": "u", "password": "p" }),
            ("post", "/v1/targets") => json!({
                "service_id": self.service, "server_id": self.server, "name": name, "database": "d",
                "backup_credential_id": self.credential, "stores": ["disk"],
            }),
            ("post", "/v1/services/{id}/backups" | "/v1/targets/{id}/backups" | "/v1/saves/{id}/verify" | "/v1/gc") => {
                json!({})
            }
            ("post", "/v1/schedules") => json!({
                "name": name, "covers": "target", "target_id": self.target, "expression": "@yearly",
            }),
            ("patch", "/v1/schedules/{id}") => json!({ "zone": "Europe/Berlin" }),
            ("put", "/v1/services/{id}/broker") => {
                json!({ "url": "https://broker.example.org", "credential_id": self.credential })
            }
            ("post", "/v1/services/{id}/wipe" | "/v1/targets/{id}/wipe") => json!({ "dry_run": true }),
            (
                "post",
                "/v1/jobs/{id}/undo"
                | "/v1/data-sets/{id}/restore"
                | "/v1/data-set-restores/{id}/resume"
                | "/v1/data-set-restores/{id}/undo",
            ) => json!({ "confirm": name }),
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

/// A token like this one that ended a minute ago, signed with the right key.
fn expired(app: &App, token: &str) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    claims["exp"] = (claims["iat"].as_i64().unwrap() - 60).into();
    claims["iat"] = (claims["exp"].as_i64().unwrap() - 60).into();
    claims["nbf"] = claims["iat"].clone();
    let message = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = std::fs::read_to_string(app.dir.path().join("token.key")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(key.trim()).unwrap());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes())))
}

/// Roles with the service that each is for.
type Roles<'a> = &'a [(&'a str, Option<&'a str>)];

/// Everybody who calls, in the order in which they do: those whom nobody knows first.
async fn callers(app: &App, here: &str, theirs: &str) -> Vec<(&'static str, Client)> {
    let good = app.client.login("root", ADMIN_PASSWORD).await;
    let token = good.token.clone().unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = app.client.with_token(&format!("{message}.{first}{}", &signature[1..]));
    let expired = app.client.with_token(&expired(app, &token));
    good.post("/v1/auth/logout", Value::Null).await.expect(204);
    let disabled = cast::admin(app, "disabled", &[("super", None)]).await;
    disabled.get("/v1/auth/me").await.expect(200);
    app.execute("UPDATE admins SET disabled_at = now() WHERE name = 'disabled'").await;
    let mut all = vec![
        ("nobody", app.client.anonymous()),
        ("forged", forged),
        ("expired", expired),
        ("revoked", good),
        ("disabled", disabled),
    ];
    let here = Some(here);
    let people: [(&str, Roles<'_>); 7] = [
        ("roleless", &[]),
        ("viewer", &[("viewer", here)]),
        ("operator", &[("operator", here)]),
        ("admin", &[("admin", here)]),
        ("theirs", &[("admin", Some(theirs))]),
        ("global", &[("admin", None)]),
        ("super", &[("super", None)]),
    ];
    for (name, roles) in people {
        all.push((name, cast::admin(app, name, roles).await));
    }
    let token = json!({ "name": "program", "role": "operator", "service_id": here });
    let token = app.client.post("/v1/tokens", token).await.expect(201)["token"].clone();
    all.insert(5, ("program", app.client.with_token(token.as_str().unwrap())));
    let known: Vec<&str> = CALLERS.iter().copied().chain(LIKE.iter().map(|(name, _)| *name)).collect();
    assert!(known.len() == all.len() && all.iter().all(|(name, _)| known.contains(name)), "a column has no caller");
    all
}

#[tokio::test]
async fn every_route_answers_every_caller_as_the_table_says_and_refusals_are_audited() {
    let database = Database::small().await;
    let mut app = App::spawn().await;
    let things = things(&mut app, &database).await;
    let theirs = Paper::create(&app.client).await;
    let (mut wrong, mut unknown) = (Vec::new(), 0);
    for (caller, client) in callers(&app, &things.service, &theirs.service).await {
        // Logging out ends the session, so it comes last.
        let ends = |row: &&Row| row.1.starts_with("/v1/auth/logout");
        let (last, rest): (Vec<&Row>, Vec<&Row>) = TABLE.iter().partition(ends);
        let rows: Vec<&Row> = rest.into_iter().chain(last).collect();
        let id = |method: &str, route: &str| format!("cell-{caller}-{method}-{}", route.replace(['/', '{', '}'], "."));
        let mut answers = Vec::new();
        for row in rows {
            let (method, route, _) = row;
            let again = ends(&row) && caller != "program" && client.token.is_some() && expected(caller, row) != 401;
            let client = if again { app.client.login(caller, ADMIN_PASSWORD).await } else { client.clone() };
            let path = things.path(method, route);
            let answer = call(&client, method, &path, things.body(method, route), &id(method, route)).await;
            let (status, expected) = (answer.status.as_u16(), expected(caller, row));
            if status != expected {
                wrong.push(format!("{caller}: {method} {route}: {status} instead of {expected}: {}", answer.text));
            }
            answers.push((*method, *route, status));
            if (*method, *route, status) == ("delete", "/v1/data-sets/{id}", 204) {
                app.execute(DATA_SET).await;
            }
            if (*method, *route, status) == ("delete", "/v1/schedules/{id}", 204) {
                // There for the next one to delete.
                app.execute(&format!("UPDATE schedules SET deleted_at = NULL WHERE id = '{}'", things.schedule)).await;
            }
        }
        let sql = format!(
            "SELECT concat_ws(' ', request_id, outcome, action) FROM audit WHERE request_id LIKE 'cell-{caller}-%'"
        );
        let mut audited: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for entry in app.values::<String>(&sql).await {
            let parts: Vec<&str> = entry.split(' ').collect();
            audited.entry(parts[0].to_owned()).or_default().push((parts[1].to_owned(), parts[2..].join(" ")));
        }
        for (method, route, status) in answers {
            let entries = audited.remove(&id(method, route)).unwrap_or_default();
            let outcome = match (status, method) {
                // Of refused tokens no more than 60 a minute are.
                (401, _) => {
                    unknown += 1;
                    continue;
                }
                (403 | 404, _) => vec!["denied"],
                (409 | 422 | 501, _) | (503, "post") => vec!["failed"],
                // What leaves with everything in it is worth knowing of.
                (_, "get") if route == "/v1/audit/export" => vec!["allowed"],
                (_, "get") => vec![],
                _ => vec!["allowed"],
            };
            if entries.iter().map(|(outcome, _)| outcome).ne(&outcome) {
                wrong.push(format!("{caller}: {method} {route}: {status} is audited as {entries:?}, not {outcome:?}"));
            }
            // What a refusal names is what the page of permissions names.
            let needs = table::needs(method, route).unwrap_or(Needs::Nothing);
            if let (403 | 404, Some((_, action))) = (status, entries.first())
                && matches!(needs, Needs::Of(_))
                && caller != "program"
                && !needs.permissions().iter().any(|permission| permission.name() == action)
                && !(route.starts_with("/v1/admins/") && action == "admin.read")
            {
                wrong.push(format!("{caller}: {method} {route}: refused for {action}, the page says {needs:?}"));
            }
        }
    }
    let sql = "SELECT count(*) FROM audit WHERE request_id LIKE 'cell-%' AND admin_id IS NULL AND outcome = 'denied'";
    let audited = app.value::<i64>(sql).await;
    if audited < unknown.min(60) {
        wrong.push(format!("of {unknown} refused tokens {audited} are audited"));
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
        let path = things.path(method, route);
        let hidden = call(&client, method, &path, things.body(method, route), "word-for-word").await;
        let missing = things.path_to(route, nowhere);
        let missing = call(&client, method, &missing, things.body(method, route), "word-for-word").await;
        assert_eq!((hidden.status, &hidden.text), (missing.status, &missing.text), "{method} {route}");
    }
    // Lists hold own rows alone, whatever is asked for.
    for list in ["/v1/admins", "/v1/services", "/v1/targets", "/v1/saves", "/v1/jobs", "/v1/events"] {
        let answer = client.get(list).await;
        assert!(!answer.text.contains(&things.service) && !answer.text.contains("items"), "{list}: {}", answer.text);
        let all = app.client.get(list).await;
        assert!(all.body.as_array().unwrap().len() > answer.body.as_array().unwrap().len(), "{list}: {}", all.text);
    }
    let own = client.get("/v1/targets").await.expect(200);
    assert_eq!((own.as_array().unwrap().len(), &own[0]["id"]), (1, &json!(theirs.target)));
    for filter in ["admins?service", "targets?service", "saves?service", "jobs?service"] {
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
