//! What workers and targets of a test are to be like, and the configuration files that say so.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{app::url_of, stack};

/// What a worker is to be like. The times are short, so that what they bound is seen to happen.
#[derive(Debug, Clone)]
pub struct WorkerSpec {
    pub name: String,
    pub slots: usize,
    pub groups: Vec<String>,
    pub lease_s: f64,
    pub beat_s: f64,
    pub sweep_s: f64,
    pub poll_s: f64,
    pub grace_s: f64,
    pub backoff_base_s: f64,
    pub job_deadline_s: f64,
    pub stall_s: f64,
    /// The application role's URL, or that of a [`Proxy`](crate::Proxy) before it.
    pub database_url: Option<String>,
    pub pg_bindirs: Vec<PathBuf>,
    /// Publish to this exchange of the stack's broker.
    pub exchange: Option<String>,
    /// Another broker's URL than the stack's own.
    pub rabbit_url: Option<String>,
    /// Another MongoDB's URI than the stack's own.
    pub mongo_uri: Option<String>,
    /// Where `file` store `disk` is, if not in the installation's directory.
    pub store_root: Option<PathBuf>,
    /// More TOML.
    pub more: String,
    /// More environment.
    pub envs: Vec<(String, String)>,
}

impl WorkerSpec {
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            slots: 2,
            groups: vec!["default".to_owned()],
            lease_s: 6.0,
            beat_s: 1.0,
            sweep_s: 0.5,
            poll_s: 0.5,
            grace_s: 10.0,
            backoff_base_s: 0.2,
            job_deadline_s: 600.0,
            stall_s: 300.0,
            database_url: None,
            pg_bindirs: vec![PathBuf::from(stack::setting("PG_BINDIR"))],
            exchange: None,
            rabbit_url: None,
            mongo_uri: None,
            store_root: None,
            more: String::new(),
            envs: Vec::new(),
        }
    }
}

/// What a target is to be like; the defaults are the stack's target server over `verify_full`, and store `disk`.
#[derive(Debug, Clone)]
pub struct TargetSpec {
    pub database: String,
    pub host: String,
    pub port: u16,
    pub tls_mode: String,
    /// A file of the CA, or none.
    pub tls_ca: Option<String>,
    pub backup: (String, String),
    pub restore: (String, String),
    /// Fields laid over the request that creates the server.
    pub server: Value,
    /// Fields laid over the request that creates the target.
    pub target: Value,
}

impl TargetSpec {
    pub fn of(database: &str) -> Self {
        let role = |name: &str| {
            (stack::setting(&format!("TARGET_{name}_USER")), stack::setting(&format!("TARGET_{name}_PASSWORD")))
        };
        Self {
            database: database.to_owned(),
            host: stack::setting("TARGET_HOST"),
            port: stack::setting("TARGET_PORT").parse().unwrap(),
            tls_mode: "verify_full".to_owned(),
            tls_ca: Some(stack::setting("TARGET_CA")),
            backup: role("BACKUP"),
            restore: role("RESTORE"),
            server: json!({}),
            target: json!({}),
        }
    }
}

/// The configuration of a worker of the installation in `dir`, with `database` for its own and its `GridFS`.
pub(crate) fn worker_toml(dir: &Path, database: &str, spec: &WorkerSpec) -> String {
    let mongo = spec.mongo_uri.clone().unwrap_or_else(|| stack::setting("MONGO_URL"));
    let root = spec.store_root.clone().unwrap_or_else(|| dir.join("store"));
    let mut toml = format!(
        "[database]\nurl = {:?}\n\n[secrets]\npublic_key = {:?}\nkey_ring_file = {:?}\n\n\
         [stores.disk]\nkind = \"file\"\nroot = {root:?}\n\n\
         [stores.grid]\nkind = \"gridfs\"\nuri = {mongo:?}\ndatabase = {:?}\nbucket = \"saves\"\n\n\
         [worker]\nname = {:?}\nslots = {}\ngroups = {:?}\nlease_s = {}\nbeat_s = {}\nsweep_s = {}\npoll_s = {}\n\
         grace_s = {}\nbackoff_base_s = {}\njob_deadline_s = {}\nstall_s = {}\nrun_dir = {:?}\npg_bindirs = {:?}\n\
         port_listen = \"127.0.0.1:0\"\nzstd_level = 1\n\n",
        spec.database_url.clone().unwrap_or_else(|| url_of("META_APP_URL", database)),
        std::fs::read_to_string(dir.join("public")).unwrap(),
        dir.join("ring"),
        database,
        spec.name,
        spec.slots,
        spec.groups,
        spec.lease_s,
        spec.beat_s,
        spec.sweep_s,
        spec.poll_s,
        spec.grace_s,
        spec.backoff_base_s,
        spec.job_deadline_s,
        spec.stall_s,
        dir.join("run"),
        spec.pg_bindirs,
    );
    if let Some(exchange) = &spec.exchange {
        let url = spec.rabbit_url.clone().unwrap_or_else(|| stack::setting("RABBIT_URL"));
        writeln!(
            toml,
            "[events]\nmode = \"rabbitmq\"\nurl = {url:?}\nexchange = {exchange:?}\nunrouted = \"{exchange}.unrouted\"\n"
        )
        .unwrap();
    }
    toml.push_str("[telemetry]\nlog_format = \"json\"\nfilter = \"info,worker=debug\"\n");
    toml.push_str(&spec.more);
    toml
}

/// The configuration of the API of the installation in `dir`.
pub(crate) fn api_toml(dir: &Path, public: &str, more: &str) -> String {
    format!(
        "[database]\nurl_file = {:?}\nowner_url_file = {:?}\n\n[http]\nlisten = \"127.0.0.1:0\"\n\n\
         [auth]\nactive_key = \"k1\"\nkeys.k1_file = {:?}\n\n[secrets]\npublic_key = {public:?}\n\n\
         [telemetry]\nlog_format = \"json\"\n{more}",
        dir.join("database.url"),
        dir.join("owner.url"),
        dir.join("token.key"),
    )
}
