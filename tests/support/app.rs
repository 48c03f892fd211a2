//! One installation of Holdfast for one test: a database, keys and directories of its own, an API, and workers.

use std::path::PathBuf;

use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::sync::RwLockReadGuard;

use crate::{
    client::{Answer, Client},
    clock,
    database::{Database, tool},
    invariants,
    process::Process,
    spec::{TargetSpec, WorkerSpec, api_toml, worker_toml},
    stack,
};

/// The password of the first admin.
pub const ADMIN_PASSWORD: &str = "correct horse battery staple 7";

/// An installation. Its processes end and its database goes with it.
#[derive(Debug)]
pub struct App {
    /// The first admin's client.
    pub client: Client,
    /// A superuser's sessions on Holdfast's own database: tests look at rows, and sometimes damage them.
    pub pool: PgPool,
    pub api: Process,
    pub dir: TempDir,
    /// Name of Holdfast's own database.
    pub database: String,
    service: Option<String>,
    _shared: Option<RwLockReadGuard<'static, ()>>,
}

impl App {
    /// A migrated database, an admin, and an API that answers. No worker yet.
    pub async fn spawn() -> Self {
        let shared = stack::shared().await;
        Self::build(Some(shared), "", None).await
    }

    /// As [`App::spawn`], at this time, by a clock that can be moved.
    pub async fn spawn_at(time: &str) -> Self {
        let shared = stack::shared().await;
        Self::build(Some(shared), "", Some(time)).await
    }

    /// Moves the clock of an installation from [`App::spawn_at`]. No job should be running. The admin logs in anew: a
    /// session lasts for hours.
    pub async fn time_is(&mut self, time: &str) {
        clock::set(&self.pool, time).await;
        self.client = self.client.login("root", ADMIN_PASSWORD).await;
    }

    /// As [`App::spawn`], for what may take longer than a token of a quarter of an hour lives.
    pub async fn spawn_for_hours() -> Self {
        let mut app = Self::spawn().await;
        // The API reads it from the directory it runs in.
        write(&app.dir, ".env", "HOLDFAST__AUTH__ACCESS_MINUTES=1440\n");
        let config = app.dir.path().join("api.toml");
        let args = ["--config", config.to_str().unwrap(), "serve"];
        app.api = Process::start("holdfast-api", &args, app.dir.path(), "api", &[]);
        let listening = app.api.says("listening").await;
        let client = Client::new(format!("http://{}", listening["address"].as_str().unwrap()));
        app.client = client.login("root", ADMIN_PASSWORD).await;
        app
    }

    /// As [`App::spawn`], with more in the API's configuration.
    pub async fn spawn_with(more: &str) -> Self {
        let shared = stack::shared().await;
        Self::build(Some(shared), more, None).await
    }

    /// As [`App::spawn`], for a test that holds [`stack::alone`].
    pub async fn spawn_alone() -> Self {
        Self::build(None, "", None).await
    }

    async fn build(shared: Option<RwLockReadGuard<'static, ()>>, more: &str, time: Option<&str>) -> Self {
        let dir = tempfile::Builder::new().prefix("holdfast-test-").tempdir().unwrap();
        for sub in ["run", "store"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let database = stack::fresh("meta");
        psql_meta(&[
            &format!("CREATE DATABASE {database} OWNER holdfast_owner"),
            &format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC"),
            &format!("GRANT CONNECT ON DATABASE {database} TO holdfast_app"),
        ]);
        if let Some(time) = time {
            clock::install(&database, time).await;
        }
        let public = stack::run(
            &stack::program("holdfast-worker"),
            &["keys", "--private", dir.path().join("ring").to_str().unwrap()],
            &[],
        );
        write(&dir, "public", public.trim());
        write(&dir, "token.key", "dGVzdHMtc2lnbi10aGVpci10b2tlbnMtd2l0aC10aGlzLWtleS1hbmQtbm9ib2R5LWVsc2U");
        write(&dir, "database.url", &url_of("META_APP_URL", &database));
        write(&dir, "owner.url", &url_of("META_OWNER_URL", &database));
        write(&dir, "api.toml", &api_toml(dir.path(), public.trim(), more));
        let config = dir.path().join("api.toml");
        let config = config.to_str().unwrap();
        let program = stack::program("holdfast-api");
        stack::run(&program, &["--config", config, "migrate"], &[]);
        let password = dir.path().join("admin.password");
        std::fs::write(&password, ADMIN_PASSWORD).unwrap();
        let create =
            ["--config", config, "admin", "create", "--name", "root", "--password-file", password.to_str().unwrap()];
        stack::run(&program, &create, &[]);

        let mut api = Process::start("holdfast-api", &["--config", config, "serve"], dir.path(), "api", &[]);
        let listening = api.says("listening").await;
        let client = Client::new(format!("http://{}", listening["address"].as_str().unwrap()));
        let client = client.login("root", ADMIN_PASSWORD).await;
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy(&url_of("META_SUPER_URL", &database))
            .unwrap();
        Self { client, pool, api, dir, database, service: None, _shared: shared }
    }

    /// The URL of the application role.
    pub fn database_url(&self) -> String {
        url_of("META_APP_URL", &self.database)
    }

    /// A worker with this name and the usual settings, ready.
    pub async fn worker(&self, name: &str) -> Process {
        self.worker_with(&WorkerSpec::named(name)).await
    }

    /// A worker that is like this, ready.
    pub async fn worker_with(&self, spec: &WorkerSpec) -> Process {
        let mut worker = self.worker_starting(spec);
        worker.says("worker started").await;
        worker
    }

    /// As [`App::worker_with`], without waiting.
    pub fn worker_starting(&self, spec: &WorkerSpec) -> Process {
        let file = format!("worker-{}.toml", spec.name);
        write(&self.dir, &file, &worker_toml(self.dir.path(), &self.database, spec));
        let path = self.dir.path().join(&file);
        let envs: Vec<(&str, &str)> = spec.envs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let args = ["--config", path.to_str().unwrap()];
        Process::start("holdfast-worker", &args, self.dir.path(), &format!("worker-{}", spec.name), &envs)
    }

    /// The one service of the test, created when first asked for.
    pub async fn service(&mut self) -> String {
        if self.service.is_none() {
            self.service = Some(self.client.post("/v1/services", json!({ "name": "items" })).await.id());
        }
        self.service.clone().unwrap()
    }

    /// A target for this database, with a server and credentials of its own. Its id.
    pub async fn target(&mut self, database: &Database) -> String {
        self.target_with(&TargetSpec::of(&database.name)).await
    }

    /// As [`App::target`], to the test's liking.
    pub async fn target_with(&mut self, spec: &TargetSpec) -> String {
        self.try_target(spec).await.id()
    }

    /// As [`App::target_with`]; what the API answered to the last request, for targets it must refuse.
    pub async fn try_target(&mut self, spec: &TargetSpec) -> Answer {
        let service = self.service().await;
        let tag = stack::fresh("t").replace('_', "-");
        let ca = spec.tls_ca.as_ref().map(|file| std::fs::read_to_string(file).unwrap());
        let mut server = json!({
            "name": tag, "engine": "postgres", "host": spec.host, "port": spec.port, "tls_mode": spec.tls_mode,
        });
        if let Some(ca) = ca {
            server["tls_ca_pem"] = ca.into();
        }
        overlay(&mut server, &spec.server);
        let server = self.client.post("/v1/servers", server).await;
        if !server.status.is_success() {
            return server;
        }
        let server = server.id();
        let mut credentials = Vec::new();
        for (what, (user, password)) in [("backup", &spec.backup), ("restore", &spec.restore)] {
            let body = json!({ "name": format!("{tag}-{what}"), "user_name": user, "password": password });
            let credential = self.client.post("/v1/credentials", body).await;
            if !credential.status.is_success() {
                return credential;
            }
            credentials.push(credential.id());
        }
        let mut target = json!({
            "service_id": service, "server_id": server, "name": tag, "database": spec.database,
            "backup_credential_id": credentials[0], "restore_credential_id": credentials[1], "stores": ["disk"],
        });
        overlay(&mut target, &spec.target);
        self.client.post("/v1/targets", target).await
    }

    /// Asks for a backup of everything. The job's id.
    pub async fn backup(&self, target: &str) -> String {
        self.client.post(&format!("/v1/targets/{target}/backups"), json!({ "mode": "all" })).await.id()
    }

    /// Asks for a restore into a new database. The job's id.
    pub async fn restore(&self, save: &str, into: &str) -> String {
        let body = json!({ "into": { "database": into }, "owner": "none", "privileges": "none" });
        self.client.post(&format!("/v1/saves/{save}/restore"), body).await.id()
    }

    /// A finished backup. The save's id.
    pub async fn saved(&self, target: &str) -> String {
        let job = self.backup(target).await;
        self.client.job_is(&job, "succeeded").await["save_id"].as_str().unwrap().to_owned()
    }

    /// One value from Holdfast's own tables.
    pub async fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let found = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&self.pool).await;
        found.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// All values of one column from Holdfast's own tables.
    pub async fn values<T>(&self, sql: &str) -> Vec<T>
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        let found = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(&self.pool).await;
        found.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Changes Holdfast's own tables behind its back.
    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&self.pool)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The states a job went through, oldest first; phases of one state are not told apart.
    pub async fn history(&self, job: &str) -> Vec<String> {
        let steps = self.client.get(&format!("/v1/jobs/{job}/history")).await.expect(200);
        let mut states: Vec<String> =
            steps.as_array().unwrap().iter().map(|step| step["to_state"].as_str().unwrap().to_owned()).collect();
        states.dedup();
        states
    }

    /// What every test leaves behind must hold, whatever it did: see [`invariants`].
    pub async fn holds(&self) {
        invariants::check(self).await;
    }

    /// The root of store `disk`.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Every log so far.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for entry in std::fs::read_dir(self.dir.path()).unwrap().flatten() {
            if entry.path().extension().is_some_and(|e| e == "log") {
                all.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()));
            }
        }
        all
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for entry in std::fs::read_dir(self.dir.path()).into_iter().flatten().flatten() {
                if entry.path().extension().is_some_and(|e| e == "log") {
                    let log = std::fs::read(entry.path()).unwrap_or_default();
                    let log = String::from_utf8_lossy(&log);
                    let lines: Vec<&str> = log.lines().collect();
                    let end = lines[lines.len().saturating_sub(25)..].join("\n");
                    show(&format!("--- {}\n{end}\n", entry.path().display()));
                }
            }
        }
        if let Err(problem) = try_psql_meta(&[&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.database)]) {
            show(&problem);
        }
    }
}

#[expect(clippy::print_stderr, reason = "the test harness shows it when the test fails")]
fn show(text: &str) {
    eprintln!("{text}");
}

fn overlay(base: &mut Value, over: &Value) {
    for (key, value) in over.as_object().unwrap() {
        base[key] = value.clone();
    }
}

fn write(dir: &TempDir, name: &str, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(dir.path().join(name)).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}

/// A URL of the stack, for another database.
pub fn url_of(setting: &str, database: &str) -> String {
    let url = stack::setting(setting);
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{database}")
}

fn psql_meta(statements: &[&str]) {
    try_psql_meta(statements).unwrap();
}

fn try_psql_meta(statements: &[&str]) -> Result<String, String> {
    let url = stack::setting("META_SUPER_URL");
    let mut args = vec!["-Xq"];
    for statement in statements {
        args.extend(["-c", statement]);
    }
    // By the environment: arguments are readable to everyone.
    let url = reqwest::Url::parse(&url).unwrap();
    let decoded = |text: &str| percent_decoded(text);
    let (host, port) = (url.host_str().unwrap().to_owned(), url.port().unwrap().to_string());
    let (user, password) = (decoded(url.username()), decoded(url.password().unwrap()));
    let envs = [
        ("PGHOST", host.as_str()),
        ("PGPORT", &port),
        ("PGUSER", &user),
        ("PGPASSWORD", &password),
        ("PGDATABASE", "postgres"),
    ];
    stack::try_run(&tool("psql"), &args, &envs)
}

/// What a URL's part stands for.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
