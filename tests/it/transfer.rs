//! Bytes for people and from them: through the API and a worker's port, with real processes and stores.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod broken;
mod content;
mod import;
mod plain;
mod tickets;

use reqwest::{Method, Response};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use support::{ADMIN_PASSWORD, App, Bucket, Client, Database, Process, TargetSpec, WorkerSpec};

/// An installation with a worker and a save in several stores.
struct Kept {
    app: App,
    worker: Process,
    save: String,
    stores: Vec<&'static str>,
    _bucket: Option<Bucket>,
    _source: Database,
}

impl Kept {
    async fn new() -> Self {
        Self::of(App::spawn().await).await
    }

    /// With settings of the API's own, as its `.env` has them.
    async fn with(env: &str) -> Self {
        let mut app = App::spawn().await;
        std::fs::write(app.dir.path().join(".env"), env).unwrap();
        let config = app.dir.path().join("api.toml");
        let args = ["--config", config.to_str().unwrap(), "serve"];
        app.api = Process::start("holdfast-api", &args, app.dir.path(), "api", &[]);
        let listening = app.api.says("listening").await;
        let client = Client::new(format!("http://{}", listening["address"].as_str().unwrap()));
        app.client = client.login("root", ADMIN_PASSWORD).await;
        Self::of(app).await
    }

    async fn of(mut app: App) -> Self {
        let source = Database::small().await;
        let bucket = Bucket::of(&app);
        let mut stores = vec!["disk", "grid"];
        let mut more = String::new();
        if let Some(bucket) = &bucket {
            stores.push("cloud");
            more.push_str(&bucket.toml("cloud"));
        }
        let worker = app.worker_with(&WorkerSpec { more, ..WorkerSpec::named("carrier") }).await;
        let target = json!({ "stores": stores, "required_copies": stores.len() });
        let target = app.target_with(&TargetSpec { target, ..TargetSpec::of(&source.name) }).await;
        let save = app.saved(&target).await;
        Self { app, worker, save, stores, _bucket: bucket, _source: source }
    }

    fn path(&self, query: &str) -> String {
        format!("/v1/saves/{}/content{query}", self.save)
    }

    /// Asks with these headers; the body is not read yet.
    async fn ask(&self, method: Method, query: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = self.app.client.request(method, &self.path(query));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn bytes(&self, query: &str) -> Vec<u8> {
        let response = self.ask(Method::GET, query, &[]).await;
        assert_eq!(response.status(), 200, "{query}");
        response.bytes().await.unwrap().to_vec()
    }

    /// Names, lengths and digests of the objects of a copy, as the rows say.
    async fn objects(&self, store: &str) -> Vec<(String, u64, String)> {
        let sql = format!(
            "SELECT part || ' ' || stored_bytes || ' ' || encode(sha256, 'hex') FROM save_objects
             WHERE save_id = '{}' AND store = '{store}' AND state = 'stored' ORDER BY part",
            self.save
        );
        let rows: Vec<String> = self.app.values(&sql).await;
        let read = |row: &String| {
            let mut cells = row.split(' ');
            let mut cell = || cells.next().unwrap().to_owned();
            (cell(), cell().parse().unwrap(), cell())
        };
        rows.iter().map(read).collect()
    }

    /// Where the dump of the copy in store `disk` lies.
    async fn dump_file(&self) -> std::path::PathBuf {
        let sql = format!(
            "SELECT key FROM save_objects WHERE save_id = '{}' AND store = 'disk' AND part = 'dump.0001' AND state = 'stored'",
            self.save
        );
        self.app.store().join(self.app.value::<String>(&sql).await)
    }

    /// Makes the dump in store `disk` so large that it fits no buffer on the way.
    async fn swell(&self) -> Vec<u8> {
        let bytes: Vec<u8> = (0..96_u64 << 20).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        std::fs::write(self.dump_file().await, &bytes).unwrap();
        let sql = format!(
            "UPDATE save_objects SET stored_bytes = {}, sha256 = decode('{}', 'hex')
             WHERE save_id = '{}' AND store = 'disk' AND part = 'dump.0001'",
            bytes.len(),
            sha256(&bytes),
            self.save
        );
        self.app.execute(&sql).await;
        bytes
    }

    /// How many downloads are under way.
    async fn under_way(&self) -> i64 {
        self.app.value("SELECT count(*) FROM transfers WHERE busy_until > clock_timestamp()").await
    }

    /// What the audit says of downloads that are over.
    async fn ended(&self) -> Vec<Value> {
        let sql = "SELECT detail || jsonb_build_object('outcome', outcome, 'who', admin_name, 'from', address)
                   FROM audit WHERE action = 'save.downloaded' ORDER BY id";
        self.app.values(sql).await
    }
}

fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn header<'r>(response: &'r Response, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}
