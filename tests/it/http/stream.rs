//! Answers that go on: a job's progress and the history as server-sent events.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use support::{App, Client};

use super::cast::{self, Paper};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// An open stream of events.
struct Stream {
    response: Response,
    unread: String,
}

/// One event: its name, its id, its data.
type Event = (String, String, Value);

impl Stream {
    async fn open(client: &Client, path: &str, headers: &[(&'static str, &str)]) -> Self {
        let mut request = client.request(Method::GET, path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, unread: String::new() }
    }

    /// The next event; none: the stream has ended as it should. One that breaks off is an error.
    async fn next(&mut self) -> Option<Event> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("no event and no end")
    }

    async fn read(&mut self) -> Option<Event> {
        loop {
            while let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                let field = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
                };
                // A comment keeps the line open and says nothing.
                if !block.lines().all(|line| line.starts_with(':')) {
                    return Some((field("event:"), field("id:"), serde_json::from_str(&field("data:")).unwrap()));
                }
            }
            let chunk = self.response.chunk().await.expect("the stream broke off")?;
            self.unread.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn a_job_is_followed_to_its_end() {
    let app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let job = app.client.post(&format!("/v1/targets/{}/probe", paper.target), Value::Null).await.id();
    let mut stream = Stream::open(&app.client, &format!("/v1/jobs/{job}/events"), &[]).await;
    let (name, _, first) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &first["state"], &first["id"]), ("job", &json!("queued"), &json!(job)));
    app.execute(&format!("UPDATE jobs SET progress = '{{\"raw_bytes\": 5}}' WHERE id = '{job}'")).await;
    let (name, _, second) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &second["progress"]["raw_bytes"]), ("progress", &json!(5)));
    app.client.post(&format!("/v1/jobs/{job}/cancel"), Value::Null).await.expect(200);
    let (name, _, last) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &last["state"]), ("end", &json!("cancelled")));
    assert!(stream.next().await.is_none(), "there is nothing after the end");
    // Of an ended job there is the end alone.
    let mut again = Stream::open(&app.client, &format!("/v1/jobs/{job}/events"), &[]).await;
    assert_eq!(again.next().await.unwrap().0, "end");
    assert!(again.next().await.is_none());
}

#[tokio::test]
async fn the_history_is_told_again_and_then_goes_on() {
    let app = App::spawn().await;
    let _worker = app.worker("a").await;
    let paper = Paper::create(&app.client).await;
    let probe = async || app.client.post(&format!("/v1/targets/{}/probe", paper.target), Value::Null).await.id();
    let accept = ("accept", "text/event-stream");
    let mut live = Stream::open(&app.client, "/v1/events", &[accept]).await;
    let job = probe().await;
    let (name, id, event) = live.next().await.unwrap();
    assert_eq!((name.as_str(), id.as_str(), &event["subject"]), ("job.queued", "1", &json!(format!("jobs/{job}"))));
    // What the list says is what the stream says.
    let (name, id, _) = live.next().await.unwrap();
    assert_eq!((name.as_str(), id.as_str()), ("job.started", "2"));
    let listed = app.client.get("/v1/events?limit=1").await.expect(200);
    assert_eq!(listed[0], event);

    let mut after = Stream::open(&app.client, "/v1/events?after=0", &[accept]).await;
    assert_eq!(after.next().await.unwrap().1, "1");
    let mut resumed = Stream::open(&app.client, "/v1/events?after=0", &[accept, ("last-event-id", "1")]).await;
    assert_eq!(resumed.next().await.unwrap().1, "2");
    // Of another's services nothing is told.
    let other = Paper::create(&app.client).await;
    let theirs = cast::admin(&app, "theirs", &[("viewer", Some(&other.service))]).await;
    let mut hidden = Stream::open(&theirs, "/v1/events?after=0", &[accept]).await;
    let shown = app.client.post(&format!("/v1/targets/{}/probe", other.target), Value::Null).await.id();
    assert_eq!(hidden.next().await.unwrap().2["subject"], json!(format!("jobs/{shown}")));
    let wrong = app
        .client
        .request(Method::GET, "/v1/events")
        .header("accept", "text/event-stream")
        .header("last-event-id", "x");
    assert_eq!(app.client.send(wrong).await.status, 400);
}

#[tokio::test]
async fn streams_are_bounded_and_end_with_the_admin_and_with_the_process() {
    let mut app = App::spawn().await;
    let paper = Paper::create(&app.client).await;
    let job = app.client.post(&format!("/v1/targets/{}/probe", paper.target), Value::Null).await.id();
    let path = format!("/v1/jobs/{job}/events");
    let viewer = cast::admin(&app, "viewer", &[("viewer", Some(&paper.service))]).await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(Stream::open(&viewer, &path, &[]).await);
    }
    viewer.get(&path).await.expect(429);
    let mut own = Stream::open(&app.client, &path, &[]).await;
    drop(streams.pop());
    // Its place is free once the API has seen that nobody reads.
    let mut freed = support::wait::until("a place is free", || async {
        let response = viewer.request(Method::GET, &path).send().await.unwrap();
        (response.status() == 200).then_some(Stream { response, unread: String::new() })
    })
    .await;
    assert_eq!(freed.next().await.unwrap().0, "job");
    app.execute("UPDATE admins SET disabled_at = now() WHERE name = 'viewer'").await;
    assert!(freed.next().await.is_none(), "a disabled admin reads on");
    assert_eq!(own.next().await.unwrap().0, "job");
    assert!(app.api.stop().await.success());
    assert!(own.next().await.is_none(), "the process waits for its streams");
}
