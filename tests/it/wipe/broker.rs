//! The broker of a service: its queues go with a wipe, and what it is made of stays with a backup. With the real one.

use reqwest::Method;
use serde_json::{Value, json};
use support::{stack, until};

use super::Scene;
use crate::night::{self, Of};

/// A virtual host of the test's own on the stack's broker.
struct Host {
    name: String,
    http: reqwest::Client,
}

impl Host {
    async fn open() -> Self {
        let this = Self { name: stack::fresh("shop"), http: reqwest::Client::new() };
        this.ask(Method::PUT, &format!("vhosts/{}", this.name), None).await;
        this
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/api/{path}", stack::setting("RABBIT_MANAGEMENT_URL"));
        let (user, password) = (stack::setting("RABBIT_USER"), stack::setting("RABBIT_PASSWORD"));
        let mut request = self.http.request(method, &url).basic_auth(user, Some(password));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{url}: {status}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A queue with so many messages; the name as a path has it.
    async fn queue(&self, name: &str, messages: usize) {
        self.ask(Method::PUT, &format!("queues/{}/{name}", self.name), Some(json!({ "durable": true }))).await;
        let key = percent_decoded(name);
        for n in 0..messages {
            let body = json!({ "properties": {}, "routing_key": key, "payload": format!("message {n}"), "payload_encoding": "string" });
            let path = format!("exchanges/{}/amq.default/publish", self.name);
            assert_eq!(self.ask(Method::POST, &path, Some(body)).await["routed"], true);
        }
    }

    /// How many messages are in it.
    async fn messages(&self, name: &str) -> usize {
        let body = json!({ "count": 100, "ackmode": "ack_requeue_true", "encoding": "auto" });
        let path = format!("queues/{}/{name}/get", self.name);
        self.ask(Method::POST, &path, Some(body)).await.as_array().unwrap().len()
    }

    /// Takes it away.
    async fn remove(self) {
        self.ask(Method::DELETE, &format!("vhosts/{}", self.name), None).await;
    }
}

fn percent_decoded(text: &str) -> String {
    support::app::percent_decoded(text)
}

/// Names the host as the broker of the scene's service. What the API answered.
async fn named(scene: &mut Scene, host: &Host, more: Value) -> Value {
    let service = scene.app.service().await;
    let body = json!({ "name": stack::fresh("b").replace('_', "-"), "user_name": stack::setting("RABBIT_USER"),
                       "password": stack::setting("RABBIT_PASSWORD") });
    let credential = scene.app.client.post("/v1/credentials", body).await.id();
    let mut body = json!({
        "url": stack::setting("RABBIT_MANAGEMENT_URL"), "vhost": host.name, "credential_id": credential, "queues": ["items.*"],
    });
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    scene.app.client.put(&format!("/v1/services/{service}/broker"), body).await.expect(200)
}

#[tokio::test]
async fn a_wipe_of_the_service_purges_the_queues_it_names_and_no_other() {
    let mut scene = Scene::set().await;
    let host = Host::open().await;
    let odd = "items.%2F%252e%252e%3F%23%20%22";
    for (name, messages) in [("items.created", 3), ("items.sold", 2), (odd, 4), ("other", 1), ("contents", 2)] {
        host.queue(name, messages).await;
    }
    named(&mut scene, &host, json!({})).await;
    let service = scene.app.service().await;
    let path = format!("/v1/services/{service}/wipe?wait=60s");
    let _worker = scene.app.worker("one").await;

    let dry = scene.app.client.post(&path, json!({ "dry_run": true })).await.expect(202);
    let would = scene.app.client.job_is(dry["purge_job_id"].as_str().unwrap(), "succeeded").await;
    assert_eq!((&would["result"]["queue_count"], &would["result"]["left"]), (&json!(3), &json!(2)), "{would:#}");
    assert_eq!(host.messages("items.created").await, 3);
    scene.untouched().await;

    let asked = scene.app.client.post(&path, json!({ "confirm": "items" })).await.expect(202);
    let purge = scene.app.client.job_is(asked["purge_job_id"].as_str().unwrap(), "succeeded").await;
    assert!(scene.is_empty().await);
    let purged: Vec<&str> =
        purge["result"]["queues"].as_array().unwrap().iter().map(|queue| queue["queue"].as_str().unwrap()).collect();
    assert_eq!(purged.len(), 3, "{purge:#}");
    for (name, left) in [("items.created", 0), ("items.sold", 0), (odd, 0), ("other", 1), ("contents", 2)] {
        assert_eq!(host.messages(name).await, left, "{name}: {purge:#}");
    }
    // It began after the wipe had ended.
    let wipe = asked["jobs"][0]["job_id"].as_str().unwrap();
    let order = "SELECT (SELECT started_at FROM jobs WHERE kind = 'purge' AND group_id = w.group_id) >= w.finished_at FROM jobs w WHERE id = ";
    assert!(scene.app.value::<bool>(&format!("{order}'{wipe}'")).await);
    let events: i64 = scene.app.value("SELECT count(*) FROM outbox WHERE type = 'broker.purged'").await;
    assert_eq!(events, 1);
    host.remove().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn where_a_database_was_not_wiped_no_queue_is_purged() {
    let mut scene = Scene::set().await;
    let host = Host::open().await;
    host.queue("items.created", 3).await;
    named(&mut scene, &host, json!({})).await;
    let service = scene.app.service().await;
    let _worker = scene.app.worker("one").await;
    let body = json!({ "confirm": "items", "keep": ["bids"] });
    let asked = scene.app.client.post(&format!("/v1/services/{service}/wipe"), body).await.expect(202);
    let purge = asked["purge_job_id"].as_str().unwrap();
    let ended = scene.app.client.job_until(purge, "ended", |job| job["finished_at"].is_string()).await;
    assert_eq!(
        (&ended["state"], &ended["error"]["code"]),
        (&json!("cancelled"), &json!("predecessor_failed")),
        "{ended:#}"
    );
    assert_eq!(host.messages("items.created").await, 3);
    scene.untouched().await;
    host.remove().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn a_backup_of_the_service_keeps_what_the_broker_is_made_of() {
    let mut scene = Scene::set().await;
    let host = Host::open().await;
    host.queue("items.created", 0).await;
    let exchange = format!("exchanges/{}/items", host.name);
    host.ask(Method::PUT, &exchange, Some(json!({ "type": "topic", "durable": true }))).await;
    let binding = format!("bindings/{}/e/items/q/items.created", host.name);
    host.ask(Method::POST, &binding, Some(json!({ "routing_key": "created.#", "arguments": {} }))).await;
    named(&mut scene, &host, json!({})).await;
    let service = scene.app.service().await;
    let _worker = scene.app.worker("one").await;
    let (backups, definitions) =
        (format!("/v1/services/{service}/backups?wait=60s"), format!("/v1/services/{service}/broker/definitions"));
    scene.app.client.get(&definitions).await.expect(404);
    let mut seen = Vec::new();
    for queues in [1, 1, 2] {
        if queues == 2 {
            host.queue("items.sold", 0).await;
        }
        let asked = scene.app.client.post(&backups, json!({})).await.expect(202);
        scene.app.client.job_is(asked["definitions_job_id"].as_str().unwrap(), "succeeded").await;
        let now = scene.app.client.get(&definitions).await.expect(200);
        assert_eq!(now["definitions"]["queues"].as_array().unwrap().len(), queues, "{now:#}");
        assert_eq!(now["definitions"]["exchanges"][0]["name"], "items", "{now:#}");
        assert_eq!(now["definitions"]["bindings"][0]["routing_key"], "created.#", "{now:#}");
        assert!(now["definitions"]["users"].is_null() && now["definitions"]["parameters"].is_null(), "{now:#}");
        seen.push(now);
    }
    // What did not change is kept once.
    assert_eq!(seen[0]["sha256"], seen[1]["sha256"]);
    assert_eq!(seen[1]["versions"].as_array().unwrap().len(), 1, "{:#}", seen[1]);
    assert!(seen[1]["seen_at"].as_str() > seen[0]["seen_at"].as_str());
    assert_eq!(seen[2]["versions"].as_array().unwrap().len(), 2, "{:#}", seen[2]);
    let old = format!("{definitions}?sha256={}", seen[0]["sha256"].as_str().unwrap());
    let old = scene.app.client.get(&old).await.expect(200);
    assert_eq!(old["definitions"], seen[0]["definitions"]);
    scene.app.client.get(&format!("{definitions}?sha256=0")).await.expect(422);
    scene.app.client.get(&format!("{definitions}?sha256={}", "0".repeat(64))).await.expect(404);
    host.remove().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn a_schedule_of_the_service_keeps_it_too_and_one_of_a_target_does_not() {
    let mut scene = Scene::set().await;
    let host = Host::open().await;
    host.queue("items.created", 0).await;
    named(&mut scene, &host, json!({})).await;
    let service = scene.app.service().await;
    let expression = night::in_seconds(&scene.app, 3).await;
    let all = night::schedule(&scene.app, Of::Service(&service), &expression, json!({ "priority": 7 })).await;
    let one = night::schedule(&scene.app, Of::Target(&scene.target), &expression, night::nothing()).await;
    let _worker = scene.app.worker("one").await;
    for (schedule, expected) in
        [(&all, vec!["backup succeeded", "definitions succeeded"]), (&one, vec!["backup succeeded"])]
    {
        night::slots_until(&scene.app, schedule, "ran", 1).await;
        night::idle(&scene.app).await;
        let jobs: Vec<String> = scene
            .app
            .values(&format!(
                "SELECT j.kind || ' ' || j.state FROM schedule_slots k JOIN jobs j ON j.group_id = k.group_id
                 WHERE k.schedule_id = '{schedule}' AND j.requested_by IS NULL ORDER BY 1"
            ))
            .await;
        assert_eq!(jobs, expected);
    }
    let kept = scene.app.client.get(&format!("/v1/services/{service}/broker/definitions")).await.expect(200);
    assert_eq!(kept["definitions"]["queues"][0]["name"], "items.created", "{kept:#}");
    let priorities: Vec<i16> = scene.app.values("SELECT priority FROM jobs WHERE kind = 'definitions'").await;
    assert_eq!(priorities, [7], "as the schedule says");
    host.remove().await;
    scene.app.holds().await;
}

#[tokio::test]
async fn a_broker_that_cannot_be_used_is_said_so() {
    let mut scene = Scene::set().await;
    let host = Host::open().await;
    host.queue("items.created", 1).await;
    let service = scene.app.service().await;
    let path = format!("/v1/services/{service}/broker");
    scene.app.client.get(&path).await.expect(404);
    let shown = named(&mut scene, &host, json!({})).await;
    assert_eq!(scene.app.client.get(&path).await.expect(200), shown);
    let credential = shown["credential_id"].clone();
    let url = stack::setting("RABBIT_MANAGEMENT_URL");
    for (body, pointer) in [
        (json!({ "url": "amqp://a", "credential_id": credential }), "/url"),
        (json!({ "url": "http://u:p@a", "credential_id": credential }), "/url"),
        (json!({ "url": url, "credential_id": service }), "/credential_id"),
        (json!({ "url": url, "credential_id": credential, "vhost": ".." }), "/vhost"),
        (json!({ "url": url, "credential_id": credential, "queues": [""] }), "/queues/0"),
        (json!({ "url": url, "credential_id": credential, "tls_ca_pem": "x" }), "/tls_ca_pem"),
    ] {
        let refused = scene.app.client.put(&path, body.clone()).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{body}: {refused:#}");
    }
    let _worker = scene.app.worker("one").await;
    let backups = format!("/v1/services/{service}/backups");
    let body = json!({ "name": "wrong", "user_name": "nobody", "password": "wrong" });
    let wrong = scene.app.client.post("/v1/credentials", body).await.id();
    for (more, code) in [
        (json!({ "credential_id": wrong }), "authentication_failed"),
        (json!({ "vhost": "there is none" }), "broker_missing"),
        (json!({ "url": "http://127.0.0.1:1" }), "broker_unreachable"),
    ] {
        named(&mut scene, &host, more.clone()).await;
        let asked = scene.app.client.post(&backups, json!({})).await.expect(202);
        let job = asked["definitions_job_id"].as_str().unwrap().to_owned();
        let failed = until("the look fails", || async {
            let job = scene.app.client.job(&job).await;
            job["error"].is_object().then_some(job)
        })
        .await;
        assert_eq!(failed["error"]["code"], code, "{more}: {failed:#}");
    }
    scene.app.client.delete(&path).await.expect(204);
    scene.app.client.delete(&path).await.expect(404);
    let asked = scene.app.client.post(&backups, json!({})).await.expect(202);
    assert!(asked["definitions_job_id"].is_null(), "{asked:#}");
    host.remove().await;
}
