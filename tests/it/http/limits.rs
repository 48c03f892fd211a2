//! What one caller may ask for: how often, how much, how slowly, and how many jobs in a day.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, Answer, App, Client, wait::PATIENCE};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use super::cast::{self, Paper};

/// The parameter of an item in a list of the `RateLimit` headers.
fn parameter(answer: &Answer, header: &str, item: &str, name: &str) -> Option<u64> {
    let list = answer.header(header)?;
    let item = list.split(", ").find(|found| found.starts_with(&format!("\"{item}\";")))?;
    item.split(';').find_map(|part| part.strip_prefix(&format!("{name}="))?.parse().ok())
}

fn kind(answer: &Answer) -> &str {
    answer.body["type"].as_str().unwrap_or_default().rsplit(':').next().unwrap()
}

/// A call that a proxy hands on for this address.
async fn by(client: &Client, address: &str) -> Answer {
    client.send(client.request(Method::GET, "/v1/auth/me").header("x-forwarded-for", address)).await
}

#[tokio::test]
async fn an_address_that_asks_too_often_has_to_wait_and_is_told_how_long() {
    let app = App::spawn().await;
    let settings = [
        ("HOLDFAST__HTTP__LIMITS__ADDRESS_PER_S", "1"),
        ("HOLDFAST__HTTP__LIMITS__ADDRESS_BURST", "20"),
        ("HOLDFAST__HTTP__TRUSTED_PROXIES", "127.0.0.0/8"),
    ];
    let (_api, client) = cast::another_api(&app, "api-few", &settings).await;
    // Behind a believed proxy it is the caller's own address that counts; before authentication too.
    let anonymous = client.anonymous();
    let mut refused = None;
    for number in 0..60 {
        let answer = by(&anonymous, "192.0.2.1").await;
        if answer.status == 429 {
            assert!(number >= 20, "refused the {number}th");
            refused = Some(answer);
            break;
        }
        answer.expect(401);
    }
    let refused = refused.expect("sixty requests in a moment were all admitted");
    assert_eq!(kind(&refused), "rate-limited", "{}", refused.text);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(parameter(&refused, "ratelimit-policy", "address", "q"), Some(20));
    assert_eq!(parameter(&refused, "ratelimit", "address", "r"), Some(0));
    assert_eq!(by(&client, "192.0.2.1").await.status, 429, "a token does not help");
    let other = by(&client, "192.0.2.2").await;
    assert_eq!(other.status, 200, "{}", other.text);
    assert_eq!(parameter(&other, "ratelimit", "address", "r"), Some(19));
    assert!(parameter(&other, "ratelimit", "admin", "r").unwrap() > 1000);
    // Who watches over the process is always answered.
    for _ in 0..60 {
        let health = client.request(Method::GET, "/healthz").header("x-forwarded-for", "192.0.2.1");
        client.send(health).await.expect(200);
    }
    // Few of those refusals fill the audit log: at most sixty a minute and process.
    let audited: i64 = app.value("SELECT count(*) FROM audit WHERE address = '192.0.2.1'").await;
    assert!((1..=61).contains(&audited), "{audited}");
}

#[tokio::test]
async fn an_admin_has_one_bucket_for_all_their_tokens_and_nobody_elses() {
    let app = App::spawn().await;
    let settings = [("HOLDFAST__HTTP__LIMITS__ADMIN_PER_S", "1"), ("HOLDFAST__HTTP__LIMITS__ADMIN_BURST", "10")];
    let (_api, first) = cast::another_api(&app, "api-few", &settings).await;
    cast::admin(&app, "other", &[("viewer", None)]).await;
    let second = first.login("root", ADMIN_PASSWORD).await;
    let other = first.login("other", ADMIN_PASSWORD).await;
    let mut statuses = Vec::new();
    for number in 0..40 {
        let client = if number % 2 == 0 { &first } else { &second };
        statuses.push(client.get("/v1/auth/me").await.status.as_u16());
    }
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses[..10].iter().all(|status| *status == 200), "{statuses:?}");
    assert!((10..30).contains(&admitted) && statuses.contains(&429), "{statuses:?}");
    other.get("/v1/auth/me").await.expect(200);
}

#[tokio::test]
async fn a_day_has_so_many_jobs_and_says_what_is_left() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let (_api, root) = cast::another_api(&app, "api-quota", &[("HOLDFAST__JOBS__PER_DAY", "5")]).await;
    cast::admin(&app, "clerk", &[("operator", None)]).await;
    let clerk = root.login("clerk", ADMIN_PASSWORD).await;
    let path = format!("/v1/targets/{}/backups", paper.target);

    // Twenty at once, of which five fit.
    let all = (0..20).map(|n| clerk.post(&path, json!({ "note": n.to_string() })));
    let answers = futures_util::future::join_all(all).await;
    let mut left: Vec<u64> = Vec::new();
    for answer in &answers {
        assert_eq!(parameter(answer, "ratelimit-policy", "jobs", "q"), Some(5), "{}", answer.text);
        assert_eq!(parameter(answer, "ratelimit-policy", "jobs", "w"), Some(86_400));
        if answer.status == 202 {
            left.push(parameter(answer, "ratelimit", "jobs", "r").unwrap());
            continue;
        }
        assert_eq!((answer.status.as_u16(), kind(answer)), (429, "quota-exceeded"), "{}", answer.text);
        assert_eq!(parameter(answer, "ratelimit", "jobs", "r"), Some(0));
        let wait: f64 = answer.header("retry-after").unwrap().parse().unwrap();
        let rest: f64 = app
            .value("SELECT extract(epoch FROM date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day' - now() AT TIME ZONE 'UTC')::float8")
            .await;
        assert!((wait - rest).abs() < 60.0, "{wait} s, and the day has {rest} s");
    }
    left.sort_unstable();
    assert_eq!(left, [0, 1, 2, 3, 4]);
    assert_eq!(app.value::<i64>("SELECT count(*) FROM jobs").await, 5);

    // What is read, done again under its key, or no job, costs nothing; another admin has days of their own.
    let keyed = |client: &Client| client.request(Method::POST, &path).header("idempotency-key", "k").json(&json!({}));
    root.send(keyed(&root)).await.expect(202);
    for _ in 0..10 {
        let again = root.send(keyed(&root)).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{}", again.text);
    }
    root.post("/v1/services", json!({ "name": "free" })).await.expect(201);
    let next = root.post(&path, json!({})).await;
    assert_eq!((next.status.as_u16(), parameter(&next, "ratelimit", "jobs", "r")), (202, Some(3)), "{}", next.text);

    // An admin's own number goes before the configured one; 0 is none.
    let id: String = app.value("SELECT id::text FROM admins WHERE name = 'clerk'").await;
    let admin = format!("/v1/admins/{id}");
    for (own, status) in [(6, 202), (6, 429), (0, 202), (0, 202)] {
        let set = root.patch(&admin, json!({ "jobs_per_day": own })).await.expect(200);
        assert_eq!(set["jobs_per_day"], own);
        clerk.post(&path, json!({})).await.expect(status);
    }
    for bad in [json!(-1), json!(1_000_001), json!("6")] {
        let refused = root.patch(&admin, json!({ "jobs_per_day": bad })).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["errors"][0]["pointer"]),
            (422, &json!("/jobs_per_day")),
            "{}",
            refused.text
        );
    }
    // What is not named stays; null is what the configuration says, which is 5, and it is used up.
    root.patch(&admin, json!({ "disabled": false })).await.expect(200);
    assert_eq!(root.get(&admin).await.expect(200)["jobs_per_day"], 0);
    assert_eq!(root.patch(&admin, json!({ "jobs_per_day": null })).await.expect(200)["jobs_per_day"], Value::Null);
    clerk.post(&path, json!({})).await.expect(429);
    // A new day.
    app.execute("UPDATE jobs_of_a_day SET day = day - 1").await;
    let next = clerk.post(&path, json!({})).await;
    assert_eq!((next.status.as_u16(), parameter(&next, "ratelimit", "jobs", "r")), (202, Some(4)), "{}", next.text);
    // The first API was told of no quota.
    let free = app.client.post(&path, json!({})).await;
    assert_eq!((free.status.as_u16(), parameter(&free, "ratelimit", "jobs", "r")), (202, None));
}

#[tokio::test]
async fn heads_that_are_too_large_are_refused_as_problems() {
    let app = App::spawn().await;
    let client = &app.client;
    let long = client.get(&format!("/v1/services?x={}", "y".repeat(9000))).await;
    assert_eq!((long.status.as_u16(), kind(&long)), (414, "uri-too-long"), "{}", long.text);
    let mut many = client.request(Method::GET, "/v1/services");
    for number in 0..80 {
        many = many.header(format!("x-{number}"), "y");
    }
    let many = client.send(many).await;
    assert_eq!((many.status.as_u16(), kind(&many)), (431, "headers-too-large"), "{}", many.text);
    let large = client.send(client.request(Method::GET, "/v1/services").header("x-large", "y".repeat(20_000))).await;
    assert_eq!((large.status.as_u16(), kind(&large)), (431, "headers-too-large"), "{}", large.text);
    for answer in [long, many, large] {
        assert_eq!(answer.body["request_id"].as_str(), answer.header("x-request-id"), "{}", answer.text);
    }
}

#[tokio::test]
async fn every_answer_tells_browsers_to_keep_their_hands_off() {
    let app = App::spawn().await;
    for answer in [
        app.client.get("/healthz").await,
        app.client.get("/v1/services").await,
        app.client.get("/v1/nothing").await,
        app.client.anonymous().get("/v1/services").await,
        app.client.post("/v1/services", Value::Null).await,
    ] {
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("strict-transport-security", "max-age=31536000"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{}", answer.status);
        }
        assert!(answer.header("permissions-policy").is_some_and(|policy| policy.contains("camera=()")));
    }
}

/// Sends a byte now and then until the connection is closed; how long that took, and what was said.
async fn trickle(client: &Client, begin: &str) -> (Duration, String) {
    let start = Instant::now();
    let mut link = TcpStream::connect(client.base.strip_prefix("http://").unwrap()).await.unwrap();
    link.write_all(begin.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(start.elapsed() < PATIENCE, "a slow request was waited for");
        match timeout(Duration::from_millis(100), link.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return (start.elapsed(), String::from_utf8_lossy(&said).into_owned()),
            Ok(Ok(read)) => said.extend_from_slice(&buffer[..read]),
            Err(_) => drop(link.write_all(b"x").await),
        }
    }
}

#[tokio::test]
async fn whoever_sends_slowly_is_not_waited_for() {
    let app = App::spawn().await;
    let settings = [("HOLDFAST__HTTP__LIMITS__HEAD_S", "1"), ("HOLDFAST__HTTP__REQUEST_TIMEOUT_S", "2")];
    let (_api, client) = cast::another_api(&app, "api-slow", &settings).await;
    let token = client.token.clone().unwrap();
    for (begin, answer) in [
        // Nothing, line ends that mean nothing, a head without an end: hung up on.
        (String::new(), ""),
        ("\r\n\r\n".into(), ""),
        ("GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ".into(), ""),
        // A second head on a connection that was used.
        ("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".into(), "HTTP/1.1 200 "),
        // A body: the time of the request.
        (
            format!(
                "POST /v1/services HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{{"
            ),
            "HTTP/1.1 504 ",
        ),
    ] {
        let (took, said) = trickle(&client, &begin).await;
        assert!(said.starts_with(answer) && (!answer.is_empty() || said.is_empty()), "{begin:?}: {said}");
        assert!(took >= Duration::from_millis(900), "{begin:?}: hung up on after {took:?}");
    }
    // Who is only slow between requests is not disturbed: that nothing happens can only be waited for.
    client.get("/v1/auth/me").await.expect(200);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.get("/v1/auth/me").await.expect(200);
}
