//! Users of the platform, through an identity service that is small and real: it speaks HTTP on a port of its own, counts what
//! it is sent, and answers, resets or keeps silent as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use reqwest::Method;
use serde_json::{Value, json};
use support::{
    Answer, App, Client, Process,
    invariants::{everything, forms},
    until,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::cast;

const TOKEN: &str = "planted-token-of-the-service+/=";
const PASSWORD: &str = "plänted \"password\" of a user";

/// What a connection is answered, after its request was read.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// A status line's end, header lines, and a body.
    Say(&'static str, &'static str, String),
    /// The connection is reset.
    Reset,
    /// Nothing, until the other side has enough.
    Silence,
    /// As [`Act::Say`] "201 Created", once it is let go.
    Late(Arc<Notify>),
}

/// An answer with this end of its status line and these header lines.
pub(super) fn say(status: &'static str, headers: &'static str, body: impl Into<Value>) -> Act {
    let body = match body.into() {
        Value::String(text) => text,
        json => json.to_string(),
    };
    Act::Say(status, headers, body)
}

#[derive(Debug)]
struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        let found =
            self.head.lines().filter_map(|line| line.split_once(": ")).find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

/// The identity service.
#[derive(Debug)]
pub(super) struct Service {
    port: u16,
    script: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<Request>>>,
    accepting: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Service {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, seen) = (Arc::<Mutex<VecDeque<Act>>>::default(), Arc::<Mutex<Vec<Request>>>::default());
        let (acts, requests) = (Arc::clone(&script), Arc::clone(&seen));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&acts), Arc::clone(&requests)));
            }
        });
        Self { port, script, seen, accepting }
    }

    /// Forgets what it was asked, and says this next.
    pub(super) fn play(&self, acts: impl IntoIterator<Item = Act>) {
        self.seen.lock().unwrap().clear();
        *self.script.lock().unwrap() = acts.into_iter().collect();
    }

    /// Whether nobody was asked for more, and how often it was.
    fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(super) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}/v1/users?tenant=a", self.port)
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<VecDeque<Act>>>, seen: Arc<Mutex<Vec<Request>>>) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let request = loop {
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        bytes.extend_from_slice(&chunk[..read]);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let request = end.map(|end| Request {
            head: String::from_utf8_lossy(&bytes[..end]).into_owned(),
            body: bytes[end + 4..].to_vec(),
        });
        match request {
            Some(request) if request.header("content-length").is_some_and(|n| n == request.body.len().to_string()) => {
                break request;
            }
            // What is no HTTP, TLS among it, is one look and a hang-up.
            None if read == 0 || bytes.first() == Some(&0x16) => break Request { head: String::new(), body: bytes },
            _ if read == 0 => return,
            _ => {}
        }
    };
    let is_http = !request.head.is_empty();
    seen.lock().unwrap().push(request);
    if !is_http {
        return;
    }
    let act = script.lock().unwrap().pop_front().expect("asked more often than the test says");
    let (status, headers, body) = match act {
        Act::Say(status, headers, body) => (status, headers, body),
        Act::Late(go) => {
            go.notified().await;
            ("201 Created", "", json!({ "id": 7 }).to_string())
        }
        Act::Reset => {
            stream.set_zero_linger().unwrap();
            return;
        }
        Act::Silence => {
            while stream.read(&mut chunk).await.is_ok_and(|read| read > 0) {}
            return;
        }
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
    drop(stream.write_all(answer.as_bytes()).await);
}

async fn app_with(service: &Service) -> App {
    let url = service.url("http");
    App::spawn_with(&format!("\n[platform]\nurl = {url:?}\ntoken = {TOKEN:?}\ntimeout_s = 2\n")).await
}

fn body() -> Value {
    json!({ "user_name": "ann", "email": "ann@example.org", "password": PASSWORD, "roles": ["bidder"] })
}

/// Asks for a user.
pub(super) async fn create(client: &Client) -> Answer {
    client.post("/v1/platform-users", body()).await
}

#[tokio::test]
async fn a_user_is_created_by_the_service_audited_and_told_without_a_secret() {
    let service = Service::start().await;
    let app = app_with(&service).await;
    service.play([say(
        "201 Created",
        "content-type: application/json\r\n",
        json!({ "id": "u-1", "password": PASSWORD }),
    )]);
    let request = app.client.request(Method::POST, "/v1/platform-users").header("idempotency-key", "ann-once");
    let made = app.client.send(request.json(&body())).await;
    let said = made.text.clone();
    assert_eq!(made.expect(201), json!({ "id": "u-1", "user_name": "ann", "email": "ann@example.org" }));
    {
        let seen = service.seen.lock().unwrap();
        assert!(seen.len() == 1 && seen[0].head.starts_with("POST /v1/users?tenant=a HTTP/1.1"), "{seen:?}");
        assert_eq!(seen[0].header("idempotency-key"), Some("ann-once"));
        assert_eq!(seen[0].header("authorization"), Some(&*format!("Bearer {TOKEN}")));
        assert_eq!(serde_json::from_slice::<Value>(&seen[0].body).unwrap(), body(), "what was given, and nothing else");
    }
    // Without a key of the caller's there is one of ours, and another for each call.
    let bare = json!({ "user_name": "bob", "email": "bob@example.org" });
    for _ in 0..2 {
        service.play([say("200 OK", "", "no JSON at all")]);
        let made = app.client.post("/v1/platform-users", bare.clone()).await.expect(201);
        assert_eq!(made["id"], Value::Null);
        assert_eq!(serde_json::from_slice::<Value>(&service.seen.lock().unwrap()[0].body).unwrap(), bare);
    }
    let sql = "SELECT detail->>'idempotency_key' FROM audit WHERE action = 'platform_user.create' AND outcome = 'allowed' ORDER BY id";
    let keys: Vec<String> = app.values(sql).await;
    assert!(keys.len() == 3 && keys[0] == "ann-once" && keys[1] != keys[2], "{keys:?}");
    let events =
        "SELECT data FROM outbox WHERE type = 'platform_user.created' AND service_id IS NULL ORDER BY position";
    let events: Vec<Value> = app.values(events).await;
    assert_eq!((events.len(), &events[0]["id"], &events[0]["user_name"]), (3, &json!("u-1"), &json!("ann")));

    let (rows, logs) = (everything(&app).await, app.logs());
    for secret in [TOKEN, PASSWORD] {
        for (form, text) in forms(secret) {
            for (place, content) in [("the answer", &said), ("the rows", &rows), ("the logs", &logs)] {
                assert!(!content.contains(&text), "{secret} stands {form} in {place}");
            }
        }
    }
}

#[tokio::test]
async fn it_is_asked_again_only_where_nothing_can_have_come_of_it() {
    let service = Service::start().await;
    let app = app_with(&service).await;
    let json = "content-type: application/json\r\n";
    let ok = || say("201 Created", json, json!({ "id": 9 }));
    let busy = |headers| say("503 Service Unavailable", headers, "");
    // The answers of the service; what the caller is answered, with which outcome.
    for (acts, status, outcome) in [
        (vec![ok()], 201, None),
        (vec![say("429 Too Many Requests", "retry-after: 0\r\n", ""), ok()], 201, None),
        (vec![busy(""), busy("retry-after: 1\r\n"), ok()], 201, None),
        (vec![busy("retry-after: 0\r\n"); 3], 503, Some("not_created")),
        (vec![busy("retry-after: 3600\r\n")], 503, Some("not_created")),
        (vec![busy("retry-after: 18446744073709551615\r\n")], 503, Some("not_created")),
        (vec![say("409 Conflict", json, json!({ "message": "ann is taken" }))], 409, None),
        (vec![say("400 Bad Request", json, json!({ "detail": "no such role" }))], 422, None),
        (vec![say("422 Unprocessable Content", "", "<html>")], 422, None),
        (vec![say("401 Unauthorized", "", "")], 502, Some("not_created")),
        (vec![say("404 Not Found", "", "")], 502, Some("not_created")),
        (vec![say("303 See Other", "location: /elsewhere\r\n", "")], 502, Some("unknown")),
        (vec![say("408 Request Timeout", "", "")], 502, Some("unknown")),
        (vec![say("500 Internal Server Error", "", "")], 502, Some("unknown")),
        (vec![say("502 Bad Gateway", "", "")], 502, Some("unknown")),
        (vec![say("504 Gateway Timeout", "", "")], 502, Some("unknown")),
        (vec![Act::Reset], 502, Some("unknown")),
        (vec![Act::Silence], 502, Some("unknown")),
        (vec![busy("retry-after: 0\r\n"), Act::Reset], 502, Some("unknown")),
    ] {
        let (expected, shown) = (acts.len(), format!("{acts:?}"));
        service.play(acts);
        let answer = create(&app.client).await;
        assert_eq!(answer.status.as_u16(), status, "{shown}: {}", answer.text);
        assert_eq!(answer.body["outcome"].as_str(), outcome, "{shown}: {}", answer.text);
        assert_eq!(service.asked(), expected, "{shown}");
        let seen = service.seen.lock().unwrap();
        let keys: Vec<&str> = seen.iter().map(|request| request.header("idempotency-key").unwrap()).collect();
        assert!(keys.iter().all(|key| *key == keys[0]), "one call has one key: {keys:?}");
        if outcome == Some("unknown") {
            assert!(answer.text.contains(keys[0]), "with the key it can be repeated: {}", answer.text);
        }
        if status == 503 {
            let wait = [("3600", "3600"), ("184467", "86400")].into_iter().find(|(asked, _)| shown.contains(asked));
            let wait = wait.map_or("1", |(_, told)| told);
            assert_eq!(answer.header("retry-after"), Some(wait), "{shown}");
        }
    }
    let events = app.value::<i64>("SELECT count(*) FROM outbox WHERE type = 'platform_user.created'").await;
    assert_eq!(events, 3);
    let failed = "SELECT count(*) FROM audit WHERE action = 'platform_user.create' AND outcome = 'failed'";
    assert_eq!(app.value::<i64>(failed).await, 16);
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_has_created_nothing() {
    let service = Service::start().await;
    let app = app_with(&service).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let closed = format!("http://127.0.0.1:{closed}/");
    // The second speaks no TLS: connections come, of the request nothing goes out.
    for (name, url, connections) in [("closed", closed, 0), ("tls", service.url("https"), 3)] {
        let envs = [("HOLDFAST__PLATFORM__URL", url.as_str())];
        let config = app.dir.path().join("api.toml");
        let args = ["--config", config.to_str().unwrap(), "serve"];
        let mut api = Process::start("holdfast-api", &args, app.dir.path(), name, &envs);
        let listening = api.says("listening").await;
        let client = Client::new(format!("http://{}", listening["address"].as_str().unwrap()));
        let client = client.with_token(app.client.token.as_ref().unwrap());
        service.play([]);
        let answer = create(&client).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body["outcome"].as_str()),
            (503, Some("not_created")),
            "{}",
            answer.text
        );
        assert_eq!(service.asked(), connections, "{name}");
        for request in service.seen.lock().unwrap().iter() {
            let sent = String::from_utf8_lossy(&request.body).into_owned();
            assert!(request.body[0] == 0x16 && !sent.contains("ann"), "more than a handshake: {sent}");
        }
    }
}

#[tokio::test]
async fn what_the_service_says_is_passed_on_short_and_without_secrets() {
    let service = Service::start().await;
    let app = app_with(&service).await;
    let said = format!("{PASSWORD} is weak\n(called with {TOKEN}) {}", "x".repeat(100_000));
    service.play([say("400 Bad Request", "", json!({ "detail": said }))]);
    let answer = create(&app.client).await;
    // A body that is longer than what is read is no JSON any more: nothing of it is passed on.
    assert!(!answer.text.contains("weak"), "{}", answer.text);
    answer.expect(422);
    let said = format!("{PASSWORD} is weak\n(called with {TOKEN}) {}", "x".repeat(1000));
    service.play([say("400 Bad Request", "", json!({ "detail": said }))]);
    let answer = create(&app.client).await;
    assert!(answer.text.len() < 800, "{}", answer.text);
    let detail = answer.expect(422)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("*** is weak (called with ***) xxx"), "{detail}");
}

#[tokio::test]
async fn who_hangs_up_has_a_user_all_the_same_and_it_is_told() {
    let service = Service::start().await;
    let app = app_with(&service).await;
    let go = Arc::new(Notify::new());
    service.play([Act::Late(Arc::clone(&go))]);
    let client = app.client.clone();
    let caller = tokio::spawn(async move { create(&client).await });
    until("the service is asked", || async { (service.asked() == 1).then_some(()) }).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    go.notify_one();
    until("the event", || async {
        let sql = "SELECT count(*) FROM outbox WHERE type = 'platform_user.created'";
        (app.value::<i64>(sql).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_user_who_makes_no_sense_is_not_asked_for_and_without_a_service_nobody_is() {
    let service = Service::start().await;
    let app = app_with(&service).await;
    service.play([]);
    let with = |name: &str, value: Value| {
        let mut body = body();
        body[name] = value;
        body
    };
    for (body, pointer) in [
        (with("user_name", json!("")), "/user_name"),
        (with("user_name", json!("a\nb")), "/user_name"),
        (with("user_name", json!("x".repeat(129))), "/user_name"),
        (with("email", json!("ann")), "/email"),
        (with("email", json!("a@b@c")), "/email"),
        (with("email", json!("a b@c")), "/email"),
        (with("password", json!("")), "/password"),
        (with("roles", json!([""])), "/roles/0"),
        (with("roles", json!("bidder")), "/roles"),
        (with("is_staff", json!(true)), "/is_staff"),
    ] {
        let refused = app.client.post("/v1/platform-users", body).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    for key in ["", "a b", &"x".repeat(256)] {
        let request = app.client.request(Method::POST, "/v1/platform-users").header("idempotency-key", key);
        app.client.send(request.json(&body())).await.expect(400);
    }
    assert_eq!(service.asked(), 0);
    let operator = cast::admin(&app, "operator", &[("operator", None)]).await;
    create(&operator).await.expect(403);
    assert_eq!(service.asked(), 0);

    let without = App::spawn().await;
    let answer = create(&without.client).await.expect(501);
    assert_eq!(answer["type"], "urn:holdfast:problem:not-configured");
    assert!(answer["detail"].as_str().unwrap().contains("platform.url"), "{answer}");
}
