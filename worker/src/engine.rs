//! What dumps and restores databases: one trait, the types its implementations share, and how children are run.
//!
//! worker → **engine** → stream: an engine gives a [`Dump<Running>`] whose reader feeds the stream, and only a tool that
//! ended well makes a [`Dump<Exited>`] of it, which alone lets an upload commit.

pub mod child;
pub mod clients;
pub mod dump;
pub mod error;
pub mod mongodb;
mod output;
pub mod postgres;
pub mod process;
pub mod redact;
pub mod restore;
pub mod secrets;

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shared::{
    name::{CollectionName, DatabaseName, HostName, UserName},
    server::{Auth, MongoMode, MongoUri},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::{
    clients::Restorable,
    dump::{Dump, Exited, Running},
    error::{EngineError, ErrorCode, Exit},
    restore::Restore,
};

/// The kind of a target's database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineKind {
    Postgres,
    Mongodb,
}

/// How a connection to a target is protected; the words are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    Disable,
    /// TLS if the server offers it; nothing is verified.
    Prefer,
    /// TLS or nothing; the server's certificate is not verified.
    Require,
    /// The certificate must be signed by the CA.
    VerifyCa,
    /// And be made out to the host name.
    VerifyFull,
}

impl TlsMode {
    /// libpq's word for it.
    pub fn as_libpq(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }

    /// Whether the server's certificate is checked.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyCa | Self::VerifyFull)
    }
}

/// Whose session it is on a target: `holdfast/<job>/<epoch>`, at most 63 bytes (the server would cut more off).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTag {
    pub job: Uuid,
    pub epoch: i64,
}

impl fmt::Display for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "holdfast/{}/{}", self.job, self.epoch)
    }
}

impl FromStr for SessionTag {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let parts = text.strip_prefix("holdfast/").and_then(|rest| rest.split_once('/'));
        let tag = parts.and_then(|(job, epoch)| Some(Self { job: job.parse().ok()?, epoch: epoch.parse().ok()? }));
        tag.ok_or_else(|| {
            EngineError::new(ErrorCode::InvalidRequest, format!("{text:?} is not holdfast/<job>/<epoch>"))
        })
    }
}

/// A server and who we are there. Debug shows no password.
#[derive(Debug, Clone)]
pub struct Connection {
    pub engine: EngineKind,
    pub host: HostName,
    pub port: u16,
    pub user: UserName,
    pub password: SecretString,
    pub tls: TlsMode,
    /// The CA that verifying modes trust, as PEM; without it the system's.
    pub ca_pem: Option<String>,
    /// Where to connect to create, rename or drop others.
    pub maintenance_database: DatabaseName,
    /// What only `MongoDB` servers have.
    pub mongodb: MongoAccess,
    /// Every session and child carries it.
    pub session: SessionTag,
    /// Whose job it is: what is created on the server says so.
    pub installation: Uuid,
}

/// How a `MongoDB` server is reached and its databases are dumped.
#[derive(Debug, Clone, Default)]
pub struct MongoAccess {
    /// Hosts and options, in the place of host and port.
    pub uri: Option<MongoUri>,
    /// Whether the credential is used.
    pub auth: Auth,
    pub mode: MongoMode,
}

/// What a server said about itself and one database. Serialised into job records.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeReport {
    /// As people write it: `15.20 (Debian 15.20-0+deb12u1)`.
    pub server_version: String,
    /// As a number: 150020.
    pub server_version_num: u32,
    pub tls_in_use: bool,
    pub is_superuser: bool,
    pub size_bytes: i64,
    pub table_count: i64,
    pub extensions: Vec<Extension>,
    pub properties: DatabaseProperties,
    /// What a dump by this role would lack or fail on; the first 500 of each kind.
    pub unreadable: Vec<Unreadable>,
    pub warnings: Vec<String>,
}

impl ProbeReport {
    /// 15 of 15.20; 9 of 9.6.24.
    pub fn server_major(&self) -> u32 {
        self.server_version_num / 10_000
    }
}

/// An installed extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    pub name: String,
    pub version: String,
}

/// Something the role cannot read, or not in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    pub kind: UnreadableKind,
    pub schema: Option<String>,
    pub name: String,
}

/// What kind of thing is unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnreadableKind {
    Table,
    Collection,
    Sequence,
    /// A table whose row security hides rows from this role: the dump would fail on it.
    RowSecurity,
    LargeObject,
}

/// What `CREATE DATABASE` and what follows it need to make an equal one; part of the manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseProperties {
    pub owner: String,
    pub encoding: String,
    /// `libc`, `icu` or `builtin`.
    pub locale_provider: String,
    pub collate: String,
    pub ctype: String,
    /// The ICU or built-in locale.
    pub locale: Option<String>,
    pub icu_rules: Option<String>,
    /// The ACL items as the server writes them; None is the default ACL.
    pub acl: Option<Vec<String>>,
    /// −1 is no limit.
    pub connection_limit: i32,
    pub comment: Option<String>,
    pub settings: Vec<DatabaseSetting>,
}

/// One `ALTER DATABASE … SET` or `ALTER ROLE … IN DATABASE … SET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseSetting {
    /// None: for everyone in the database.
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}

/// Which half of a database is dumped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DumpMode {
    #[default]
    All,
    Schema,
    Data,
}

/// A table by its literal name: no character in it is a wildcard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableName {
    /// None: whatever the search path finds.
    pub schema: Option<String>,
    pub table: String,
}

/// What is dumped, and how patiently.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpOptions {
    pub mode: DumpMode,
    /// Only these; empty is all.
    #[serde(default)]
    pub tables: Vec<TableName>,
    /// All but these.
    #[serde(default)]
    pub exclude_tables: Vec<TableName>,
    /// Of a `MongoDB` database only these; empty is all.
    #[serde(default)]
    pub collections: Vec<CollectionName>,
    #[serde(default)]
    pub exclude_collections: Vec<CollectionName>,
    /// Seconds to wait for the locks on the tables; None is 60.
    #[serde(default)]
    pub lock_wait_seconds: Option<u32>,
}

/// Whether something of the save is kept in the restored database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    #[default]
    Keep,
    None,
}

/// How a save is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOptions {
    #[serde(default)]
    pub owner: Keep,
    #[serde(default)]
    pub privileges: Keep,
    /// What stands under the wanted name is going to be replaced, and no obstacle.
    #[serde(default)]
    pub replaces: bool,
}

/// A database this attempt created, under a name of its own until [`postgres::Postgres::publish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    pub(crate) database: DatabaseName,
    pub(crate) wanted: DatabaseName,
    pub(crate) session: SessionTag,
}

impl Created {
    /// Its name while it is restored.
    pub fn database(&self) -> &DatabaseName {
        &self.database
    }

    /// Whose restore it is.
    pub fn job(&self) -> Uuid {
        self.session.job
    }

    /// The name it gets when it is whole.
    pub fn wanted(&self) -> &DatabaseName {
        &self.wanted
    }
}

/// What [`postgres::Postgres::create`] answers.
#[derive(Debug)]
pub enum Creation {
    New(Created),
    /// An older attempt of this very job had finished the restore and was killed before it could say so.
    Finished,
}

/// The dump of what belongs to the server and not to one database.
#[derive(Debug)]
pub enum Globals {
    Dump(Box<Dump<Running>>),
    /// This role may not read them: a warning for the save, not a failure.
    Skipped(String),
    /// This kind of server has none that are saved.
    None,
}

/// A kind of database that can be dumped. Every call ends early, with `cancelled`, when the token fires. How it is restored
/// differs too much from one kind to the other: each has its own ways.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// Asks the server about itself and the database, and what the role cannot read.
    async fn probe(
        &self,
        at: &Connection,
        database: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<ProbeReport, EngineError>;

    /// The names of the server's databases, but for its own and for what Holdfast has put beside them.
    async fn databases(&self, at: &Connection, cancel: &CancellationToken) -> Result<Vec<String>, EngineError>;

    /// Ends what older epochs of the same job still run on the server, waits until none is left, returns how many it were.
    async fn end_older_sessions(
        &self,
        at: &Connection,
        database: &DatabaseName,
        cancel: &CancellationToken,
    ) -> Result<usize, EngineError>;

    /// Starts a dump; warnings for the save (a newer client, say) come with it.
    async fn dump(
        &self,
        at: &Connection,
        database: &DatabaseName,
        options: &DumpOptions,
        probe: &ProbeReport,
        cancel: &CancellationToken,
    ) -> Result<Dump<Running>, EngineError>;

    /// Starts the dump of roles and the like, without password hashes.
    async fn dump_globals(
        &self,
        at: &Connection,
        probe: &ProbeReport,
        cancel: &CancellationToken,
    ) -> Result<Globals, EngineError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_tags_survive_the_way_through_a_server() {
        let tag = SessionTag { job: Uuid::now_v7(), epoch: 1_234_567 };
        assert!(tag.to_string().len() <= 63);
        assert_eq!(tag.to_string().parse::<SessionTag>().unwrap(), tag);
        for bad in ["holdfast", "psql", "holdfast/x/1", "holdfast/0190a1b2-0000-7000-8000-000000000000/"] {
            assert!(bad.parse::<SessionTag>().is_err(), "{bad}");
        }
    }
}
