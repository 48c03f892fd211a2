//! Servers of other major versions than the stack's own, started when a test first asks for one.

use std::path::PathBuf;

use reqwest::Url;
use serde_json::json;
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::{app::percent_decoded, spec::TargetSpec, stack};

/// A `PostgreSQL` server of another major, and its client programs.
#[derive(Debug)]
pub struct Major {
    pub port: u16,
    pub password: String,
    /// Empty where there are none.
    pub bindir: PathBuf,
}

impl Major {
    /// `pg16` or `pg18`, or without client programs `pg14` or `pg17`; installs it where it is missing.
    pub async fn start(service: &str) -> Self {
        stack::act("start", service).await;
        let env = stack::run(&stack::root().join("deploy/dev/stack"), &["env"], &[]);
        let setting = |name: &str| {
            let prefix = format!("export HOLDFAST_DEV_{}_{name}=", service.to_uppercase());
            let line = env.lines().find_map(|line| line.strip_prefix(&prefix));
            line.map(|line| line.trim_matches('\'').to_owned())
        };
        let url = setting("SUPER_URL").unwrap_or_else(|| panic!("{service} has no URL"));
        let url = Url::parse(&url).unwrap();
        Self {
            port: url.port().unwrap(),
            password: percent_decoded(url.password().unwrap()),
            bindir: setting("BINDIR").map(PathBuf::from).unwrap_or_default(),
        }
    }

    /// A target on it, as its superuser, without TLS.
    pub fn target(&self, database: &str) -> TargetSpec {
        let superuser = ("postgres".to_owned(), self.password.clone());
        TargetSpec {
            database: database.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: self.port,
            tls_mode: "disable".to_owned(),
            tls_ca: None,
            backup: superuser.clone(),
            restore: superuser,
            server: json!({}),
            target: json!({}),
        }
    }

    /// A superuser's session.
    pub async fn connect(&self, database: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("postgres")
            .password(&self.password)
            .database(database);
        PgConnection::connect_with(&options).await.unwrap()
    }
}
