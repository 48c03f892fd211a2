//! Two thousand requests that make no sense (guarantees G5): each is answered, none by a 5xx, and the process lives.

use support::App;

use super::{cast::Paper, raw};

const REQUESTS: usize = 2000;
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

const METHODS: &[&str] = &["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "BREW", "get"];

/// A method and an address: mostly those of a route.
fn line(random: &mut Random, ids: &[&str]) -> (String, String) {
    let (method, route) = random.one(api::routes::ROUTES);
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

#[tokio::test]
async fn nonsense_is_answered_and_does_no_harm() {
    let mut app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let token = app.client.token.clone().unwrap();
    // The real ids are reached for too, but for the session: that one has to last.
    let ids = [paper.service.as_str(), &paper.server, &paper.credential, &paper.target];
    let mut random = Random(SEED);
    let mut seen = std::collections::BTreeMap::<u16, usize>::new();
    for number in 0..REQUESTS {
        let (method, target) = line(&mut random, &ids);
        let body = body(&mut random);
        let mut headers =
            vec![("content-type", random.one(&["application/json", "application/json", "text/html", ""]))];
        let bearer = format!("Bearer {token}");
        if random.below(10) > 0 && !target.contains("logout") {
            headers.push(("authorization", &bearer));
        }
        match random.below(10) {
            0 => headers.push(("x-request-id", "a\tb")),
            1 => headers.push(("x-forwarded-for", "1.2.3.4, ::1, nonsense")),
            2 => headers.push(("accept-encoding", "br;q=x")),
            3 => headers.push(("expect", "nothing")),
            _ => {}
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
        let shown =
            || format!("request {number}: {:?}\n{answer}", String::from_utf8_lossy(&bytes[..bytes.len().min(400)]));
        assert!(status.is_some() || answer.is_empty(), "{}", shown());
        assert!(status.unwrap_or(400) < 500, "{}", shown());
        if let Some(status @ 401..) = status
            && method != "HEAD"
            && ![404, 405, 431].contains(&status)
        {
            assert!(answer.contains("application/problem+json"), "{}", shown());
        }
        *seen.entry(status.unwrap_or(0)).or_default() += 1;
    }
    assert!(!app.api.has_ended());
    app.client.get("/readyz").await.expect(200);
    app.client.get("/v1/auth/me").await.expect(200);
    let log = app.api.log();
    assert!(!log.contains("panicked") && !log.contains("\"level\":\"ERROR\""), "{}", app.api.tail());
    // Nonsense of one kind alone would prove little.
    for status in [400, 401, 404, 405, 415, 422] {
        assert!(seen.get(&status).is_some_and(|count| *count > 10), "{seen:?}");
    }
}
