//! Ten thousand requests that make no sense (guarantees G5): each is answered, none by a 5xx, every refusal is a problem
//! that says what it is, and the process lives. Half of them are right ones with something wrong in them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, App, stack};

use super::{cast::Paper, raw};

const REQUESTS: usize = 10_000;
/// What the requests come from; `HOLDFAST_DEV_SEED` names another.
const SEED: u64 = 0x5eed_0000_0000_0001;

/// `SplitMix64`: the same requests each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

const VALUES: &[&str] = &[
    "null",
    "true",
    "0",
    "-1",
    "1e400",
    "1.5",
    "99999999999999999999",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"a\"",
    "[]",
    "{}",
    "[[[[]]]]",
    "\"00000000-0000-7000-8000-000000000000\"",
    "\"'; DROP TABLE jobs; --\"",
    "\"../../etc/passwd\"",
    "NaN",
    "\"\u{202e}\"",
];
const MEMBERS: &[&str] = &[
    "name",
    "description",
    "host",
    "port",
    "engine",
    "tls_mode",
    "tls_ca_pem",
    "max_jobs",
    "password",
    "user_name",
    "stores",
    "database",
    "service_id",
    "server_id",
    "backup_credential_id",
    "restore_credential_id",
    "required_copies",
    "worker_group",
    "deadline_s",
    "mode",
    "tables",
    "exclude_tables",
    "priority",
    "note",
    "into",
    "owner",
    "privileges",
    "__proto__",
    "",
    "\\u0000",
    "x",
];
const QUERIES: &[&str] = &[
    "",
    "?",
    "?page=0",
    "?page=-1",
    "?limit=1e9",
    "?page=4294967296",
    "?limit=%00",
    "?page=1&page=1",
    "?%ff=%ff",
    "?state=%F0%28",
    "?kind=%00",
    "?sort=id",
    "?service=x",
    "?after=9223372036854775808",
    "?after=-9223372036854775808",
    "?wait=1ms",
    "?wait=99999999999999999999s",
    "?wait=-1s",
    "?wait=%00",
    "?a=b=c&&&=",
    "?limit=100&page=1000000",
    "?group='",
    "?valid=maybe",
    "?[]=1",
    "?a[b]=c",
];

fn body(random: &mut Random) -> Vec<u8> {
    match random.below(8) {
        0 => random.bytes(300),
        1 => "[".repeat(random.below(3000)).into_bytes(),
        2 => format!("{}{}", "{\"a\":".repeat(random.below(500)), "1").into_bytes(),
        3 => vec![b' '; 60_000 + random.below(10_000)],
        4 => format!("\"{}\"", "é".repeat(random.below(9000))).into_bytes(),
        _ => {
            let members: Vec<String> =
                (0..=random.below(6)).map(|_| format!("\"{}\":{}", random.one(MEMBERS), random.one(VALUES))).collect();
            let mut body = format!("{{{}}}", members.join(",")).into_bytes();
            if random.below(3) == 0 {
                let at = random.below(body.len());
                body[at] = random.next().to_le_bytes()[0];
            }
            if random.below(6) == 0 {
                body.truncate(random.below(body.len()));
            }
            body
        }
    }
}

/// A body that the route takes. A route that is not named here takes none, or is tried with an empty one.
fn right(method: &str, route: &str, paper: &Paper) -> Option<Value> {
    Some(match (method, route) {
        ("post", "/v1/auth/login") => json!({ "name": "root", "password": format!("not {ADMIN_PASSWORD}") }),
        ("post", "/v1/services") => json!({ "name": "a", "description": "b" }),
        ("post", "/v1/servers") => json!({
            "name": "a", "engine": "postgres", "host": "127.0.0.1", "port": 5432, "tls_mode": "prefer", "max_jobs": 2,
        }),
        ("post", "/v1/credentials") => json!({ "name": "a", "user_name": "u", "password": "p" }),
        ("post", "/v1/targets") => json!({
            "service_id": paper.service, "server_id": paper.server, "name": "a", "database": "d", "deadline_s": 60,
            "backup_credential_id": paper.credential, "stores": ["disk"], "required_copies": 1,
        }),
        ("patch", "/v1/services/{id}") => json!({ "description": "c" }),
        ("patch", "/v1/servers/{id}") => {
            json!({ "max_jobs": 3, "port": 1, "host": "127.0.0.1", "capacity_bytes": null })
        }
        ("patch", "/v1/credentials/{id}") => json!({ "user_name": "v", "password": "q" }),
        ("patch", "/v1/targets/{id}") => json!({ "deadline_s": 61, "stall_s": null, "stores": ["disk", "grid"] }),
        ("post", "/v1/targets/{id}/backups") => json!({
            "mode": "all", "tables": [{ "schema": "public", "table": "t" }], "exclude_tables": [], "stores": ["disk"],
            "priority": 5, "note": "n",
        }),
        ("post", "/v1/saves/{id}/restore") => json!({
            "into": { "target_id": paper.target, "database": "d" }, "owner": "none", "privileges": "none", "tables": [],
            "mode": "all", "dry_run": true, "compare": "rows",
        }),
        ("post", "/v1/saves/{id}/verify") => json!({ "stores": ["disk"], "repair": true, "priority": 1 }),
        ("post", "/v1/saves/{id}/copies") => json!({ "store": "disk" }),
        ("post", "/v1/jobs/{id}/undo") => json!({ "confirm": "d", "keep_old_hours": 1 }),
        ("post", "/v1/gc") => json!({ "store": "disk", "worker_group": "default", "dry_run": true }),
        ("post" | "patch" | "put", _) => json!({}),
        _ => return None,
    })
}

/// Something wrong in something right.
fn spoil(random: &mut Random, body: &Value) -> Vec<u8> {
    let mut body = body.clone();
    let pointers = pointers(&body);
    let at = &pointers[random.below(pointers.len())];
    let here = body.pointer_mut(at).unwrap();
    // What is no JSON by itself is put in as text, below.
    let hole = json!("put it here");
    let value = match random.below(9) {
        0 => "[".repeat(200) + &"]".repeat(200),
        1 => format!("\"{}\"", "x".repeat(random.below(70_000))),
        2 => format!("\"{}\"", random.one(MEMBERS)),
        _ => random.one(VALUES).to_owned(),
    };
    match here {
        Value::Object(members) if random.below(2) == 0 => {
            members.insert(random.one(MEMBERS).replace("\\u0000", "\0"), hole.clone());
        }
        Value::Array(items) if random.below(2) == 0 => items.push(hole.clone()),
        Value::Object(members) if random.below(3) == 0 && !members.is_empty() => {
            let name = members.keys().nth(random.below(members.len())).unwrap().clone();
            members.remove(&name);
        }
        here => *here = hole.clone(),
    }
    let mut text = body.to_string().replace(&hole.to_string(), &value).into_bytes();
    match random.below(8) {
        // A member that stands twice.
        0 if text.starts_with(b"{\"") => {
            let inner = text[1..].to_vec();
            text = [b"{", &inner[..inner.len() - 1], b",", &inner].concat();
        }
        1 => {
            let at = random.below(text.len());
            text[at] = random.next().to_le_bytes()[0];
        }
        2 => text.truncate(random.below(text.len())),
        _ => {}
    }
    text
}

/// Where its values stand.
fn pointers(value: &Value) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut add = |name: String, inner: &Value| {
        all.extend(pointers(inner).into_iter().map(|rest| format!("/{name}{rest}")));
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, inner)| add(name.clone(), inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, inner)| add(index.to_string(), inner)),
        _ => {}
    }
    all
}

/// Headers that mean something to the API, with contents that mostly do not.
const HEADERS: &[(&str, &str)] = &[
    ("x-request-id", "a\tb"),
    ("x-forwarded-for", "1.2.3.4, ::1, nonsense"),
    ("accept-encoding", "br;q=x"),
    ("expect", "nothing"),
    ("idempotency-key", ""),
    ("idempotency-key", "a b"),
    ("idempotency-key", "the-same-for-all"),
    ("if-match", "*"),
    ("if-match", "\"unclosed"),
    ("if-match", "W/\"x\", \"y\""),
    ("if-none-match", "x"),
    ("if-none-match", "*"),
    ("y-access-token", "a.b.c"),
    ("authorization", "Basic cm9vdDpyb290"),
    ("content-encoding", "gzip"),
    ("range", "bytes=9-1"),
    ("accept", "nothing/*;q=2"),
    ("origin", "null"),
    ("if-modified-since", "yesterday"),
];

const METHODS: &[&str] = &["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "BREW", "get"];

/// A method and an address: mostly those of a route.
fn line(random: &mut Random, (method, route): (&str, &str), ids: &[&str]) -> (String, String) {
    let method = if random.below(4) > 0 { method.to_uppercase() } else { random.one(METHODS).to_owned() };
    let odd = ["", "%00", "..", "%2e%2e%2f", "1", "00000000-0000-0000-0000-00000000000", "%ff%fe", "a'b", "{id}", "*"];
    // What is deleted could not be reached for any more.
    let id = if method != "DELETE" && random.below(4) > 0 { random.one(ids) } else { random.one(&odd) };
    let mut path = route.replace("{id}", id);
    match random.below(12) {
        0 => path.push('/'),
        1 => path = path.replace("/v1", "//v1"),
        2 => path = path.to_uppercase(),
        3 => path.push_str(&"/x".repeat(random.below(200))),
        4 => path = format!("http://elsewhere{path}"),
        _ => {}
    }
    let query = if random.below(3) == 0 { random.one(QUERIES) } else { "" };
    (method, path + query)
}

/// What is asked of others that are not there in this test, a worker and the platform's service, and what that is answered.
const LACKING: [(&str, u16); 2] = [("/import", 503), ("/v1/platform-users", 501)];

/// Who answers: the API by a problem that is complete, or the server below it without a word.
fn check((method, target): (&str, &str), status: u16, answer: &str, shown: impl Fn() -> String) {
    let lacks = LACKING.iter().any(|(route, said)| target.contains(route) && status == *said);
    assert!(status < 500 || lacks, "{}", shown());
    if status < 400 {
        return;
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.split_once(": ").filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|x| x.1))
    };
    let Some(id) = header("x-request-id") else {
        assert!([400, 414, 431].contains(&status) && body.is_empty(), "{}", shown());
        return;
    };
    assert_eq!(header("content-type"), Some("application/problem+json"), "{}", shown());
    if method == "HEAD" {
        return;
    }
    let problem: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {}", shown()));
    assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("urn:holdfast:problem:")), "{}", shown());
    assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", shown());
    assert_eq!((&problem["status"], &problem["request_id"]), (&json!(status), &json!(id)), "{}", shown());
    if status == 422 && problem["type"] == "urn:holdfast:problem:invalid" {
        let errors = problem["errors"].as_array().unwrap();
        assert!(!errors.is_empty() && errors.iter().all(|error| error["pointer"].is_string()), "{}", shown());
    }
}

#[tokio::test]
async fn nonsense_is_answered_and_does_no_harm() {
    let mut app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let token = app.client.token.clone().unwrap();
    // The real ids are reached for too, but for the session: that one has to last.
    let ids = [paper.service.as_str(), &paper.server, &paper.credential, &paper.target];
    let seed = stack::optional("SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let mut random = Random(seed);
    let mut answers = BTreeMap::<u16, usize>::new();
    for number in 0..REQUESTS {
        // Each route has its turn.
        let route = api::routes::ROUTES[number % api::routes::ROUTES.len()];
        let (mut method, mut target) = line(&mut random, route, &ids);
        let right = right(route.0, route.1, &paper).filter(|_| random.below(2) == 0);
        let body = match right {
            Some(right) => {
                (method, target) = (route.0.to_uppercase(), route.1.replace("{id}", random.one(&ids)));
                spoil(&mut random, &right)
            }
            None => body(&mut random),
        };
        let mut headers =
            vec![("content-type", random.one(&["application/json", "application/json", "text/html", ""]))];
        let bearer = format!("Bearer {token}");
        // Nobody logs out on the way.
        if random.below(10) > 0 && (!target.to_lowercase().contains("/auth/") || target.contains("/auth/me")) {
            headers.push(("authorization", &bearer));
        }
        if random.below(3) == 0 {
            headers.push(random.one(HEADERS));
        }
        let mut bytes = raw::request(&format!("{method} {target}"), &headers, &body);
        let answer = match random.below(25) {
            // Cut short: half of the connection is closed to say that no more comes.
            0 => {
                bytes.truncate(random.below(bytes.len()));
                raw::send_and_close(&app.client, &bytes).await
            }
            1 => {
                let at = random.below(bytes.len().min(200));
                bytes[at] = random.next().to_le_bytes()[0];
                raw::send_and_close(&app.client, &bytes).await
            }
            2 => {
                bytes = random.bytes(500);
                raw::send_and_close(&app.client, &bytes).await
            }
            _ => raw::send(&app.client, &bytes).await,
        };
        let status = raw::status(&answer);
        let shown = || {
            let sent = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]);
            format!("seed {seed}, request {number}: {sent:?}\n{answer}")
        };
        assert!(status.is_some() || answer.is_empty(), "{}", shown());
        if let Some(status) = status {
            check((&method, &target), status, &answer, shown);
        }
        *answers.entry(status.unwrap_or(0)).or_default() += 1;
    }
    assert!(!app.api.has_ended());
    app.client.get("/readyz").await.expect(200);
    app.client.get("/v1/auth/me").await.expect(200);
    let log = app.api.log();
    // Requests that failed were looked at above, each by its status.
    let is_error = |line: &str| line.contains("\"level\":\"ERROR\"") && !line.contains("request failed");
    assert!(!log.contains("panicked") && !log.lines().any(is_error), "{}", app.api.tail());
    // Nonsense of one kind alone would prove little.
    for status in [200, 202, 400, 401, 404, 405, 413, 415, 422] {
        assert!(answers.get(&status).is_some_and(|count| *count > 3), "seed {seed}: {answers:?}");
    }
}
