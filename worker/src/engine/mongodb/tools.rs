//! `mongodump` and `mongorestore` as children, for targets that say so. The whole connection string, password included, stands in a 0600 file:
//! nothing of it in arguments or environment.

pub mod restore;

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use secrecy::{ExposeSecret as _, SecretString};
use shared::{name::DatabaseName, server::Auth};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        Connection, Dump, DumpOptions, EngineError, ErrorCode, Running, TlsMode,
        postgres::SYSTEM_CA,
        process::{Launcher, Tool},
        secrets::SecretDir,
    },
    ARCHIVE, Mongodb, classify,
    connect::auth_database,
    probe,
    restore::names::PREFIX,
};

/// `mongodump` and `mongorestore` of this machine.
#[derive(Debug, Clone)]
pub struct MongoTools {
    pub mongodump: PathBuf,
    pub mongorestore: PathBuf,
    /// As `mongodump --version` says it: `100.9.4`.
    pub version: String,
}

impl MongoTools {
    /// Looks into the directories of the worker's PATH; both tools must be in the same one, and run.
    pub async fn discover(launcher: &Launcher, path: Option<&OsStr>) -> Option<Self> {
        for dir in path.into_iter().flat_map(std::env::split_paths).filter(|dir| dir.is_absolute()) {
            let (mongodump, mongorestore) = (dir.join("mongodump"), dir.join("mongorestore"));
            if !mongodump.is_file() || !mongorestore.is_file() {
                continue;
            }
            let tool = Tool { path: mongodump.clone(), args: vec!["--version".into()], ..Tool::default() };
            match launcher.output(tool, 4096, &CancellationToken::new()).await {
                Ok((ended, out)) if ended.is_success() => {
                    let version = version(&String::from_utf8_lossy(&out));
                    return Some(Self { mongodump, mongorestore, version });
                }
                Ok((ended, _)) => {
                    tracing::warn!(path = %mongodump.display(), exit = %ended.exit, stderr = %ended.stderr, "mongodump does not run");
                }
                Err(error) => tracing::warn!(path = %mongodump.display(), %error, "mongodump does not start"),
            }
        }
        None
    }
}

/// `mongodump version: 100.9.4`, and more lines.
fn version(text: &str) -> String {
    let version = text.lines().find_map(|line| line.strip_prefix("mongodump version: "));
    version.map(str::trim).filter(|version| !version.is_empty()).unwrap_or("unknown").to_owned()
}

impl Mongodb {
    /// The tools of this worker, or what to do about their absence.
    pub(super) fn tools(&self) -> Result<&MongoTools, EngineError> {
        self.tools.as_ref().ok_or_else(|| {
            let problem = "this worker has no mongodump and mongorestore on its PATH, which the target asks for";
            EngineError::new(ErrorCode::ClientTooOld, problem)
                .with_hint("install the MongoDB database tools, or set the target's mongo_mode to \"native\"")
        })
    }

    pub(super) async fn tool_dump(
        &self,
        at: &Connection,
        database: &DatabaseName,
        options: &DumpOptions,
        cancel: &CancellationToken,
    ) -> Result<Dump<Running>, EngineError> {
        let tools = self.tools()?;
        let not_started =
            |error| EngineError::new(ErrorCode::ToolNotStarted, "mongodump could not be started").with_source(error);
        let excluded = self.excluded(at, database, options, cancel).await?;
        let (dir, config) = self.private_config(at, "mongodump.yaml").map_err(not_started)?;
        let mut args: Vec<OsString> = vec![option("config", config.as_os_str()), "--archive".into()];
        args.push(option("db", OsStr::new(database.as_str())));
        if let [only] = options.collections.as_slice() {
            args.push(option("collection", OsStr::new(only.as_str())));
        } else {
            // What a restore has put aside is no part of the database.
            args.push(option("excludeCollectionsWithPrefix", OsStr::new(PREFIX)));
            args.extend(excluded.iter().map(|name| option("excludeCollection", OsStr::new(name))));
        }
        let tool =
            Tool { path: tools.mongodump.clone(), args, secrets: secrets(at), dir: Some(dir), ..Tool::default() };
        let started = self.launcher.start(tool, cancel).await.map_err(not_started)?;
        let about = ("mongodump", tools.version.clone());
        Ok(Dump::of_process(started, about, Vec::new(), ARCHIVE, classify::stderr))
    }

    /// A directory of the child's own with the file that holds the connection string.
    fn private_config(&self, at: &Connection, name: &str) -> std::io::Result<(SecretDir, PathBuf)> {
        let dir = SecretDir::create(&self.run_dir, &at.session.to_string())?;
        let ca = match &at.ca_pem {
            Some(pem) if at.tls.verifies() => Some(dir.write("ca.pem", pem.as_bytes())?),
            None if at.tls.verifies() => Some(SYSTEM_CA.into()),
            _ => None,
        };
        let config = dir.write(name, config(&uri(at, ca.as_ref())).expose_secret().as_bytes())?;
        Ok((dir, config))
    }

    /// The tool takes one collection or all but some: of several, the others are excluded.
    async fn excluded(
        &self,
        at: &Connection,
        database: &DatabaseName,
        options: &DumpOptions,
        cancel: &CancellationToken,
    ) -> Result<Vec<String>, EngineError> {
        let excluded = options.exclude_collections.iter().map(|name| name.as_str().to_owned());
        if options.collections.is_empty() {
            return Ok(excluded.collect());
        }
        let session = self.session(at, cancel).await?;
        let listed = super::cancellable(cancel, probe::list(&session.database(database))).await?;
        let is_there = |name: &str| listed.iter().any(|listed| listed.name == name);
        if let Some(missing) = options.collections.iter().find(|name| !is_there(name.as_str())) {
            let problem = format!("the database has no collection {:?}", missing.as_str());
            return Err(EngineError::new(ErrorCode::TableMissing, problem));
        }
        let others = listed.iter().map(|listed| listed.name.clone());
        let others = others.filter(|name| !options.collections.iter().any(|chosen| chosen.as_str() == name));
        Ok(excluded.chain(others).collect())
    }
}

/// What must not be seen in what a tool says.
fn secrets(at: &Connection) -> Vec<SecretString> {
    vec![at.password.clone(), encode(at.password.expose_secret()).into()]
}

/// `--name=value`, one argument: a value that begins with a dash stays a value.
fn option(name: &str, value: &OsStr) -> OsString {
    let mut option = OsString::from(format!("--{name}="));
    option.push(value);
    option
}

/// Hosts, options, user and password: what goes into the private file alone.
fn uri(at: &Connection, ca: Option<&PathBuf>) -> SecretString {
    let (scheme, hosts, options) = match &at.mongodb.uri {
        None => {
            let host = if at.host.as_str().contains(':') { format!("[{}]", at.host) } else { at.host.to_string() };
            ("mongodb", format!("{host}:{}", at.port), "directConnection=true".to_owned())
        }
        Some(uri) => {
            let (scheme, rest) = uri.as_str().split_once("://").unwrap_or(("mongodb", uri.as_str()));
            let (hosts, options) = rest.split_once('?').unwrap_or((rest, ""));
            // Without a user, how users authenticate means nothing to the tool, and it says so.
            let is_kept =
                |option: &&str| at.mongodb.auth == Auth::Password || !option.to_ascii_lowercase().starts_with("auth");
            let options: Vec<&str> = options.split('&').filter(is_kept).collect();
            (scheme, hosts.trim_end_matches('/').to_owned(), options.join("&"))
        }
    };
    let mut text = format!("{scheme}://");
    let add = |text: &mut String, arguments: std::fmt::Arguments<'_>| text.push_str(&std::fmt::format(arguments));
    if at.mongodb.auth == Auth::Password {
        let (user, password) = (encode(at.user.as_str()), encode(at.password.expose_secret()));
        add(&mut text, format_args!("{user}:{password}@"));
    }
    add(&mut text, format_args!("{hosts}/?appName={}", encode(&at.session.to_string())));
    if !options.is_empty() {
        add(&mut text, format_args!("&{options}"));
    }
    if at.mongodb.auth == Auth::Password && !options.to_ascii_lowercase().contains("authsource=") {
        add(&mut text, format_args!("&authSource={}", encode(auth_database(at))));
    }
    add(&mut text, format_args!("&tls={}", at.tls != TlsMode::Disable));
    if at.tls == TlsMode::Require {
        text.push_str("&tlsInsecure=true");
    }
    if let Some(ca) = ca {
        add(&mut text, format_args!("&tlsCAFile={}", encode(&ca.to_string_lossy())));
    }
    text.into()
}

/// One key, as YAML; a string of JSON is one of YAML.
fn config(uri: &SecretString) -> SecretString {
    format!("uri: {}\n", serde_json::Value::from(uri.expose_secret())).into()
}

/// Percent-encodes all but what is unreserved everywhere.
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte.into()),
            _ => out.extend(["%".to_owned(), format!("{byte:02X}")]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use shared::{
        name::{HostName, UserName},
        server::{MongoMode, MongoUri},
    };

    use super::*;
    use crate::engine::{EngineKind, MongoAccess, SessionTag};

    fn at(uri: Option<&str>, auth: Auth, tls: TlsMode) -> Connection {
        Connection {
            engine: EngineKind::Mongodb,
            host: HostName::parse("::1").unwrap(),
            port: 27018,
            user: UserName::parse("u:@ü").unwrap(),
            password: "p/%\"'".to_owned().into(),
            tls,
            ca_pem: None,
            maintenance_database: DatabaseName::parse("admin").unwrap(),
            mongodb: MongoAccess { uri: uri.map(|uri| MongoUri::parse(uri).unwrap()), auth, mode: MongoMode::Tools },
            session: SessionTag { job: uuid::Uuid::nil(), epoch: 3 },
            installation: uuid::Uuid::nil(),
        }
    }

    #[test]
    fn the_file_says_everything_and_every_character_is_safe() {
        let plain = uri(&at(None, Auth::Password, TlsMode::Require), None);
        assert_eq!(
            config(&plain).expose_secret(),
            "uri: \"mongodb://u%3A%40%C3%BC:p%2F%25%22%27@[::1]:27018/?appName=holdfast%2F00000000-0000-0000-0000-000000000000%2F3&directConnection=true&authSource=admin&tls=true&tlsInsecure=true\"\n"
        );
        let set = at(Some("mongodb://a,b:2/?replicaSet=r&authSource=x"), Auth::None, TlsMode::VerifyFull);
        let set = uri(&set, Some(&"/etc/ca".into()));
        assert!(set.expose_secret().starts_with("mongodb://a,b:2/?appName="), "{}", set.expose_secret());
        assert!(set.expose_secret().ends_with("&replicaSet=r&tls=true&tlsCAFile=%2Fetc%2Fca"));
    }

    #[test]
    fn the_version_is_read() {
        assert_eq!(version("mongodump version: 100.9.4\ngit version: x\n"), "100.9.4");
        assert_eq!(version("?"), "unknown");
    }
}
