//! Errors: one shape, and every kind that docs/api.md lists.

use std::collections::BTreeSet;

use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, Answer, App, Client, Process, Proxy, stack, until};

use super::{
    cast::{self, Paper},
    platform, raw,
};

/// The types in the table of docs/api.md, with their statuses.
fn documented() -> BTreeSet<(String, u16)> {
    let text = std::fs::read_to_string(stack::root().join("docs/api.md")).unwrap();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() < 4 || !cells[1].contains(':') || !cells[1].starts_with('`') {
            continue;
        }
        let types = cells[1].split(',').filter_map(|cell| cell.trim().trim_matches('`').rsplit_once(':'));
        let statuses = cells[2].split(',').filter_map(|cell| cell.trim().parse().ok());
        found.extend(types.map(|(_, name)| name.to_owned()).zip(statuses));
    }
    found
}

/// Checks the shape; the type's last word and the status.
#[track_caller]
fn kind(answer: &Answer) -> (String, u16) {
    let body = &answer.body;
    let name = body["type"].as_str().and_then(|uri| uri.strip_prefix("urn:holdfast:problem:"));
    let name = name.unwrap_or_else(|| panic!("no problem: {} {}", answer.status, answer.text));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text);
    assert_eq!(body["status"], answer.status.as_u16(), "{}", answer.text);
    assert_eq!(body["request_id"].as_str(), answer.header("x-request-id"), "{}", answer.text);
    assert!(body["request_id"].is_string(), "{}", answer.text);
    for member in ["title", "detail"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {}", answer.text);
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{}", answer.text);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{}", answer.text);
    (name.to_owned(), answer.status.as_u16())
}

async fn post_raw(client: &Client, path: &str, content_type: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
    let request = client.request(Method::POST, path).body(body);
    client
        .send(match content_type {
            Some(content_type) => request.header(CONTENT_TYPE, content_type),
            None => request,
        })
        .await
}

#[tokio::test]
async fn every_kind_of_problem_happens_and_is_documented() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let viewer = cast::admin(&app, "viewer", &[("viewer", None)]).await;
    let anonymous = client.anonymous();
    let mut seen = BTreeSet::new();
    let mut see = |answer: &Answer| seen.extend([kind(answer)]);

    see(&post_raw(client, "/v1/services", Some("application/json"), "{").await);
    see(&anonymous.get("/v1/jobs").await);
    let login = |password: &str| json!({ "name": "nobody", "password": password });
    for _ in 0..11 {
        see(&anonymous.post("/v1/auth/login", login("wrong")).await);
    }
    see(&viewer.post("/v1/services", json!({ "name": "x" })).await);
    see(&client.get("/v1/nothing").await);
    see(&client.get("/v1/targets/no-uuid").await);
    see(&client.send(client.request(Method::PUT, "/v1/services")).await);
    see(&client.delete(&format!("/v1/services/{}", paper.service)).await);
    see(&post_raw(client, "/v1/services", Some("application/json"), vec![b' '; 70_000]).await);
    see(&post_raw(client, "/v1/services", Some("text/plain"), "{}").await);
    see(&client.post("/v1/services", json!({ "name": "-" })).await);

    see(&platform::create(client).await);

    // Ours: a table that is not there.
    app.execute("ALTER TABLE services RENAME TO gone").await;
    let broken = client.get("/v1/services").await;
    app.execute("ALTER TABLE gone RENAME TO services").await;
    see(&broken);
    assert!(!broken.text.contains("relation") && !broken.text.contains("SELECT"), "{}", broken.text);
    assert!(app.api.log().contains("relation \\\"services\\\" does not exist"), "the log has the cause");

    // The database's: cut off, and silent.
    let (proxy, through) = Proxy::before(&app.database_url()).await;
    let config = app.dir.path().join("api.toml");
    let service = platform::Service::start().await;
    let identity = service.url("http");
    let envs = [
        ("HOLDFAST__DATABASE__URL", through.as_str()),
        ("HOLDFAST__HTTP__REQUEST_TIMEOUT_S", "2"),
        ("HOLDFAST__PLATFORM__URL", identity.as_str()),
        ("HOLDFAST__PLATFORM__TIMEOUT_S", "1"),
    ];
    let args = ["--config", config.to_str().unwrap(), "serve"];
    let mut behind = Process::start("holdfast-api", &args, app.dir.path(), "api-behind", &envs);
    let listening = behind.says("listening").await;
    let behind = Client::new(format!("http://{}", listening["address"].as_str().unwrap()));
    let behind = behind.login("root", ADMIN_PASSWORD).await;
    for status in ["500 Internal Server Error", "401 Unauthorized", "503 Service Unavailable"] {
        service.play([platform::say(status, "retry-after: 60\r\n", "")]);
        see(&platform::create(&behind).await);
    }
    proxy.stall();
    see(&behind.get("/v1/services").await);
    proxy.cut();
    see(&behind.get("/v1/services").await);
    proxy.heal();
    // A connection that worked a moment ago is believed to live: who asked hears that it broke, and may ask again.
    let healed = until("it is available again", || async {
        let answer = behind.get("/v1/services").await;
        (answer.status != 503).then_some(answer)
    });
    healed.await.expect(200);

    // What callers are held to.
    let keyed = |body: Value| client.request(Method::POST, "/v1/gc").header("idempotency-key", "k").json(&body);
    client.send(keyed(json!({}))).await.expect(202);
    see(&client.send(keyed(json!({ "dry_run": false }))).await);
    let path = format!("/v1/services/{}", paper.service);
    let stale = client.request(Method::PATCH, &path).header("if-match", "\"stale\"");
    see(&client.send(stale.json(&json!({ "description": "x" }))).await);
    see(&client.get(&format!("/v1/services?{}", "x".repeat(9000))).await);
    see(&client.send(client.request(Method::GET, "/v1/services").header("x-large", "x".repeat(20_000))).await);
    app.execute("UPDATE admins SET jobs_per_day = 1 WHERE name = 'root'").await;
    client.post("/v1/gc", json!({})).await.expect(202);
    see(&client.post("/v1/gc", json!({})).await);
    let once = [("HOLDFAST__HTTP__LIMITS__ADDRESS_PER_S", "1"), ("HOLDFAST__HTTP__LIMITS__ADDRESS_BURST", "1")];
    let (_api, hurried) = cast::another_api(&app, "api-hurried", &once).await;
    let answers =
        [hurried.get("/v1/services").await, hurried.get("/v1/services").await, hurried.get("/v1/services").await];
    see(answers.iter().find(|answer| answer.status == 429).expect("three at once where one a second may"));

    // These have tests of their own: downloads with a worker, users of the platform with its service.
    for (name, status) in [
        ("range-not-satisfiable", 416),
        ("not-configured", 501),
        ("upstream-unknown", 502),
        ("upstream-refused", 502),
        ("upstream-unavailable", 503),
    ] {
        seen.insert((name.to_owned(), status));
    }
    assert_eq!(seen, documented());
}

/// The types that the code knows, with their statuses, read from where they are written.
fn coded() -> BTreeSet<(String, u16)> {
    let text = std::fs::read_to_string(stack::root().join("api/src/error.rs")).unwrap();
    let mut found = BTreeSet::new();
    for rest in text.split("(StatusCode::").skip(1) {
        let Some((status, rest)) = rest.split_once(", \"") else { continue };
        let Some((slug, _)) = rest.split_once("\", \"") else { continue };
        if !slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
            continue;
        }
        let status = match status {
            "BAD_REQUEST" => 400,
            "UNAUTHORIZED" => 401,
            "FORBIDDEN" => 403,
            "NOT_FOUND" => 404,
            "METHOD_NOT_ALLOWED" => 405,
            "CONFLICT" => 409,
            "GONE" => 410,
            "PRECONDITION_FAILED" => 412,
            "PAYLOAD_TOO_LARGE" => 413,
            "URI_TOO_LONG" => 414,
            "UNSUPPORTED_MEDIA_TYPE" => 415,
            "RANGE_NOT_SATISFIABLE" => 416,
            "UNPROCESSABLE_ENTITY" => 422,
            "TOO_MANY_REQUESTS" => 429,
            "REQUEST_HEADER_FIELDS_TOO_LARGE" => 431,
            "INTERNAL_SERVER_ERROR" => 500,
            "NOT_IMPLEMENTED" => 501,
            "BAD_GATEWAY" => 502,
            "SERVICE_UNAVAILABLE" => 503,
            "GATEWAY_TIMEOUT" => 504,
            other => panic!("a status that no problem had so far: {other}"),
        };
        found.insert((slug.to_owned(), status));
    }
    found
}

#[test]
fn the_table_has_every_type_of_the_code_and_no_other() {
    let (coded, documented) = (coded(), documented());
    assert!(coded.len() > 15, "{coded:?}");
    assert_eq!(coded, documented);
}

#[tokio::test]
async fn what_cannot_be_used_is_named_by_its_pointer() {
    let app = App::spawn().await;
    let client = &app.client;
    let paper = Paper::create(client).await;
    let target = format!("/v1/targets/{}", paper.target);
    let backups = format!("{target}/backups");
    let server = |over: Value| {
        let mut body = json!({ "name": "s", "engine": "postgres", "host": "127.0.0.1" });
        for (key, value) in over.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    for (path, body, pointer) in [
        ("/v1/services", json!({ "name": "a", "extra": 1 }), "/extra"),
        ("/v1/services", json!({ "name": 7 }), "/name"),
        ("/v1/services", json!({ "name": "Not A Slug" }), "/name"),
        ("/v1/services", json!({ "name": "a", "description": "x".repeat(501) }), "/description"),
        ("/v1/services", json!({ "name": "a", "description": "nul \u{0}" }), "/description"),
        ("/v1/services", json!([]), ""),
        ("/v1/services", json!({}), "/name"),
        ("/v1/auth/login", json!({ "name": "root", "password": 1 }), "/password"),
        ("/v1/servers", server(json!({ "port": 0 })), "/port"),
        ("/v1/servers", server(json!({ "port": 65536 })), "/port"),
        ("/v1/servers", server(json!({ "port": "5432" })), "/port"),
        ("/v1/servers", server(json!({ "host": "a,b" })), "/host"),
        ("/v1/servers", server(json!({ "host": "-h" })), "/host"),
        ("/v1/servers", server(json!({ "host": "/tmp" })), "/host"),
        ("/v1/servers", server(json!({ "engine": "oracle" })), "/engine"),
        ("/v1/servers", server(json!({ "max_jobs": 65 })), "/max_jobs"),
        ("/v1/servers", server(json!({ "tls_ca_pem": "no pem" })), "/tls_ca_pem"),
        ("/v1/credentials", json!({ "name": "c", "user_name": "u", "password": "" }), "/password"),
        ("/v1/credentials", json!({ "name": "c", "user_name": "u", "password": "a\nb" }), "/password"),
        ("/v1/credentials", json!({ "name": "c", "user_name": "u", "password": "a\u{0}b" }), "/password"),
        ("/v1/credentials", json!({ "name": "c", "user_name": "u\n", "password": "p" }), "/user_name"),
        (&backups, json!({ "priority": 10 }), "/priority"),
        (&backups, json!({ "priority": 1.5 }), "/priority"),
        (&backups, json!({ "mode": "some" }), "/mode"),
        (&backups, json!({ "stores": ["disk", "disk"] }), "/stores/1"),
        (&backups, json!({ "stores": ["elsewhere"] }), "/stores"),
        (&backups, json!({ "tables": [{ "schema": "public", "table": "" }] }), "/tables/0/table"),
        (&backups, json!({ "tables": [{ "schema": "public", "table": "a\u{0}" }] }), "/tables/0/table"),
        (&backups, json!({ "tables": [{ "schema": "public", "table": "t", "x": 1 }] }), "/tables/0/x"),
    ] {
        let answer = client.post(path, body.clone()).await;
        assert_eq!(kind(&answer), ("invalid".into(), 422), "{path} {body}");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{path} {body}: {}", answer.text);
    }
    for (path, name) in [
        ("/v1/jobs?limit=0", "?limit"),
        ("/v1/jobs?limit=101", "?limit"),
        ("/v1/jobs?page=0", "?page"),
        ("/v1/jobs?page=-1", "?page"),
        ("/v1/jobs?page=1e3", "?page"),
        ("/v1/jobs?page=99999999999999999999", "?page"),
        ("/v1/jobs?limit=5&limit=6", "?limit"),
        ("/v1/jobs?colour=red", "?colour"),
        ("/v1/jobs?state=done", "?state"),
        ("/v1/jobs?target=1", "?target"),
        ("/v1/jobs?kind=a%00b", "?kind"),
        ("/v1/saves?sort=name", "?sort"),
        ("/v1/saves?valid=yes", "?valid"),
        ("/v1/events?after=x", "?after"),
        ("/v1/services?state=x", "?state"),
        (&format!("{target}?x=1"), "?x"),
        ("/v1/auth/me?x", "?x"),
    ] {
        let answer = client.get(path).await;
        assert_eq!(kind(&answer), ("invalid".into(), 422), "{path}");
        assert_eq!(answer.body["errors"][0]["pointer"], name, "{path}: {}", answer.text);
    }
    for wait in ["61s", "-1s", "1h", "soon", "1.5s"] {
        let answer = client.post(&format!("{target}/probe?wait={wait}"), Value::Null).await;
        assert_eq!(answer.expect(422)["errors"][0]["pointer"], "?wait", "{wait}");
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_before_they_do_harm() {
    let app = App::spawn().await;
    let client = &app.client;
    let json_type = Some("application/json");
    let deep =
        |open: &str, close: &str, levels| format!("{{\"name\":{}{}}}", open.repeat(levels), close.repeat(levels));
    let malformed = ("malformed".to_owned(), 400);
    for body in [
        Vec::new(),
        b"{".to_vec(),
        b"{\"name\":\"a\"} x".to_vec(),
        b"{\"name\":\"\xff\xfe\"}".to_vec(),
        b"{\"name\":\"\x00\"}".to_vec(),
        b"{\"name\":\"\\ud800\"}".to_vec(),
        b"{'name':'a'}".to_vec(),
        b"{\"name\":NaN}".to_vec(),
        b"{\"name\":1e999}".to_vec(),
        b"\xef\xbb\xbf{\"name\":\"a\"}".to_vec(),
        deep("[", "]", 200).into_bytes(),
        deep("{\"a\":", "}", 9000).into_bytes(),
        "[".repeat(60_000).into_bytes(),
    ] {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!(kind(&post_raw(client, "/v1/services", json_type, body).await), malformed, "{shown}");
    }
    let twice = post_raw(client, "/v1/services", json_type, r#"{"name":"a","name":"b"}"#).await;
    assert_eq!((kind(&twice), twice.body["errors"][0]["pointer"].as_str()), (("invalid".into(), 422), Some("/name")));
    for content_type in
        [None, Some(""), Some("text/json"), Some("application/jsonx"), Some("application/x-www-form-urlencoded")]
    {
        let answer = post_raw(client, "/v1/services", content_type, r#"{"name":"a"}"#).await;
        assert_eq!(kind(&answer), ("unsupported-media-type".into(), 415), "{content_type:?}");
    }
    let answer = post_raw(client, "/v1/services", Some("Application/JSON; charset=utf-8"), r#"{"name":"a"}"#).await;
    assert_eq!(answer.status, 201, "{}", answer.text);

    let body = |bytes: usize| format!("{{\"name\":\"b\",\"description\":\"{}\"}}", "x".repeat(bytes - 29));
    assert_eq!(body(65_536).len(), 65_536);
    let answer = post_raw(client, "/v1/services", json_type, body(65_536)).await;
    assert_eq!(kind(&answer), ("invalid".into(), 422), "a body of the limit is read");
    let answer = post_raw(client, "/v1/services", json_type, body(65_537)).await;
    assert_eq!(kind(&answer), ("payload-too-large".into(), 413));
    // Without a length: cut off while it comes.
    let head = format!(
        "POST /v1/services HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
        client.token.as_ref().unwrap()
    );
    let chunked = [head.as_bytes(), b"20000\r\n", &vec![b' '; 0x20000], b"\r\n0\r\n\r\n"].concat();
    assert_eq!(raw::status(&raw::send(client, &chunked).await), Some(413));
}

#[tokio::test]
async fn a_method_that_is_not_there_names_those_that_are() {
    let app = App::spawn().await;
    let mut paths: Vec<&str> = api::routes::ROUTES.iter().map(|(_, path)| *path).collect();
    paths.dedup();
    for path in paths {
        let methods: Vec<&str> =
            api::routes::ROUTES.iter().filter(|route| route.1 == path).map(|route| route.0).collect();
        let path = path.replace("{id}", "00000000-0000-7000-8000-000000000000");
        for method in ["put", "post", "patch", "delete"] {
            if methods.contains(&method) {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = app.client.send(app.client.request(method.clone(), &path)).await;
            assert_eq!(kind(&answer), ("method-not-allowed".into(), 405), "{method} {path}");
            let allowed = answer.header("allow").unwrap_or_default().to_lowercase();
            assert!(methods.iter().all(|method| allowed.contains(method)), "{method} {path}: {allowed:?}");
        }
    }
}

#[tokio::test]
async fn a_request_keeps_the_id_that_its_caller_gave_if_it_is_a_sane_one() {
    let app = App::spawn().await;
    let get = |id: &str| app.client.request(Method::GET, "/v1/nothing").header("x-request-id", id.to_owned());
    for id in ["trace-1234", "0123456789abcdef0123456789abcdef", "A.b_c-d.8"] {
        assert_eq!(app.client.send(get(id)).await.header("x-request-id"), Some(id));
    }
    for id in ["short", "with space here", "<script>alert(1)</script>", &"x".repeat(65), "a'; DROP TABLE audit"] {
        let answer = app.client.send(get(id)).await;
        assert_ne!(answer.header("x-request-id"), Some(id));
        assert!(!answer.text.contains(id), "{}", answer.text);
    }
    let ok = app.client.get("/healthz").await;
    assert!(ok.header("x-request-id").is_some());
}
