//! `[scratch.<name>]`: servers on which drills restore saves. For workers alone.

use std::{collections::BTreeMap, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use super::{reader::Section, stores::needed};
use crate::{
    name::{DatabaseName, HostName, Slug, UserName},
    server::{Engine, MongoUri, TlsMode},
};

/// The declared servers by name.
pub type ScratchServers = BTreeMap<Slug, ScratchServer>;

/// A server on which databases may be made and dropped.
#[derive(Debug, Clone)]
pub struct ScratchServer {
    /// The worker groups that it is for; empty: all.
    pub groups: Vec<Slug>,
    pub kind: Scratch,
    pub host: HostName,
    pub port: u16,
    /// None: a `MongoDB` server without users.
    pub user: Option<UserName>,
    pub password: Option<SecretString>,
    pub tls_mode: TlsMode,
    /// Whom to trust, as PEM; none: the system's authorities.
    pub ca_pem: Option<String>,
    pub maintenance_database: DatabaseName,
    /// Whether it may be the server that the target itself is on.
    pub allow_same_server: bool,
}

/// What kind of server it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scratch {
    Postgres,
    /// With hosts and options in the place of host and port, where there are such.
    Mongodb(Option<MongoUri>),
}

impl ScratchServer {
    /// What it restores.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.kind {
            Scratch::Postgres => Engine::Postgres,
            Scratch::Mongodb(_) => Engine::Mongodb,
        }
    }
}

/// An engine's word.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Postgres,
    Mongodb,
}

pub(super) fn read(s: &mut Section<'_>) -> ScratchServers {
    let mut servers = ScratchServers::new();
    for text in s.names() {
        let mut table = s.table(&text);
        let name = match Slug::parse(text) {
            Ok(name) => name,
            Err(error) => {
                table.fail("", &error.to_string(), "rename the scratch server");
                continue;
            }
        };
        if let Some(server) = read_one(&mut table) {
            servers.insert(name, server);
        }
    }
    servers
}

fn read_one(s: &mut Section<'_>) -> Option<ScratchServer> {
    let word: Option<Word> = needed(s, "engine", "\"postgres\" or \"mongodb\"");
    let groups = s.optional("groups", "a list of names of worker groups").unwrap_or_default();
    let host: Option<HostName> = s.optional("host", "a host name or an address");
    let port: Option<u16> = s.optional("port", "a port number");
    let uri: Option<MongoUri> = s.optional("uri", "mongodb://host,host/?replicaSet=name");
    let user: Option<UserName> = s.optional("user", "the user's name");
    let password = s.secret("password");
    let tls_mode = s.optional("tls_mode", "\"disable\", \"prefer\", \"require\", \"verify_ca\" or \"verify_full\"");
    let ca_file: Option<PathBuf> = s.optional("ca_file", "the path of a PEM file");
    let maintenance: Option<DatabaseName> = s.optional("maintenance_database", "the name of a database");
    let allow_same_server = s.optional("allow_same_server", "true or false").unwrap_or(false);
    let word = word?;
    let (engine, default) = match word {
        Word::Postgres => (Engine::Postgres, "postgres"),
        Word::Mongodb => (Engine::Mongodb, "admin"),
    };
    if uri.is_some() && (engine == Engine::Postgres || host.is_some() || port.is_some()) {
        s.fail("uri", "stands beside a host, or is not of MongoDB", "give host and port, or, of MongoDB, the uri");
    }
    let (host, port) = match &uri {
        Some(uri) => uri.first_host()?,
        None => (missing(s, "host", host, "the server's host")?, port.unwrap_or(engine.default_port())),
    };
    if user.is_some() != password.is_some() && !s.has_failed("password") && !s.has_failed("password_file") {
        let lacking = if user.is_some() { "password" } else { "user" };
        s.fail(lacking, "is missing", "give user and password, or, of MongoDB, neither");
    }
    if engine == Engine::Postgres && user.is_none() && password.is_none() {
        s.fail("user", "is missing", "give a role that may create databases, best a superuser of this server");
    }
    let tls_mode = tls_mode.unwrap_or(TlsMode::VerifyFull);
    if engine == Engine::Mongodb && tls_mode == TlsMode::Prefer {
        s.fail(
            "tls_mode",
            "is \"prefer\", and MongoDB negotiates no TLS",
            "give \"disable\", \"require\" or \"verify_full\"",
        );
    }
    let ca_pem = match ca_file.map(|path| (std::fs::read_to_string(&path), path)) {
        Some((Ok(pem), _)) => Some(pem),
        Some((Err(error), path)) => {
            let problem = format!("cannot read {}: {error}", path.display());
            s.fail("ca_file", &problem, "give the path of a readable file");
            None
        }
        None => None,
    };
    let maintenance_database = maintenance.or_else(|| DatabaseName::parse(default).ok())?;
    let kind = match word {
        Word::Postgres => Scratch::Postgres,
        Word::Mongodb => Scratch::Mongodb(uri),
    };
    Some(ScratchServer {
        groups,
        kind,
        host,
        port,
        user,
        password,
        tls_mode,
        ca_pem,
        maintenance_database,
        allow_same_server,
    })
}

fn missing<T>(s: &mut Section<'_>, name: &str, value: Option<T>, expects: &str) -> Option<T> {
    if value.is_none() && !s.has_failed(name) {
        s.fail(name, "is missing", &format!("give {expects}"));
    }
    value
}
