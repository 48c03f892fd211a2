//! The manifest: what a save contains, how to read it, how to check it (design §6). Written as `manifest.json` beside
//! the objects of each copy, as their last, and describing that very copy: its encodings, its objects, their stored lengths
//! and digests. The save's row holds the one of its first good copy. Format 2; format 1 described all copies at once, which
//! were then all the same.
//!
//! On an encrypted store `manifest.json` is a [`SealedManifest`]: a clear head and the manifest as an age file.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    id::{InstallationId, SaveId},
    inventory::Inventory,
    job::TableName,
    name::{CollectionName, DatabaseName, Slug, StoreKey},
    save::{Mode, Origin, Scope},
    server::{Auth, MongoMode, MongoUri},
};

/// The format this code writes. A reader refuses what is newer. Since 2 an object may lack raw facts, and a dump may consist
/// of several objects.
pub const FORMAT: u32 = 2;

/// The name of the manifest among the objects of a copy.
pub const PART: &str = "manifest.json";

/// What the names of a dump's objects begin with; in order of name they are one stream.
pub const DUMP: &str = "dump.";

/// A save, described so that it can be read and checked without Holdfast's tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Manifest {
    pub format: u32,
    pub installation: InstallationId,
    pub save: SaveId,
    pub version: i32,
    pub service: Slug,
    pub target: Slug,
    pub engine: String,
    /// Where the database was; absent in saves of before it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerAddress>,
    pub database: DatabaseName,
    pub server_version: String,
    pub tool: String,
    pub tool_version: String,
    /// The tool's major version: a restore needs this one or a later one.
    pub tool_major: u32,
    pub holdfast_version: String,
    pub scope: Scope,
    pub origin: Origin,
    pub mode: Mode,
    #[serde(default)]
    pub tables: Vec<TableName>,
    #[serde(default)]
    pub exclude_tables: Vec<TableName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collections: Vec<CollectionName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_collections: Vec<CollectionName>,
    pub consistency: Consistency,
    /// What was done to the raw bytes of this copy, in order: undo it from the last to the first.
    pub encodings: Vec<Encoding>,
    /// What the database is apart from its contents: owner, encoding, collation, ACL, settings.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub database_properties: serde_json::Value,
    pub read_back: BTreeMap<Slug, String>,
    pub started_at: DateTime<Utc>,
    pub finished_at: DateTime<Utc>,
    /// The objects of this copy but the manifest itself.
    pub objects: Vec<ManifestObject>,
    /// Rows, bytes and digest per table or collection; absent where they were not counted, which a warning explains, and
    /// in saves made before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inventory: Option<Inventory>,
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How a server is reached, without who may: what a catalogue that is rebuilt makes a server of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServerAddress {
    pub host: String,
    pub port: u16,
    pub tls_mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_ca_pem: Option<String>,
    pub maintenance_database: String,
    /// What only a target of `MongoDB` has; absent in saves of before it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mongodb: Option<MongoAddress>,
}

/// How a `MongoDB` server is reached beside its host, and how its target was dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MongoAddress {
    /// Hosts and options, without user and password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<MongoUri>,
    #[serde(default)]
    pub auth: Auth,
    #[serde(default)]
    pub mode: MongoMode,
}

/// No server: a name that resolves nowhere.
impl Default for ServerAddress {
    fn default() -> Self {
        Self {
            host: "unknown.invalid".to_owned(),
            port: 5432,
            tls_mode: "verify_full".to_owned(),
            tls_ca_pem: None,
            maintenance_database: "postgres".to_owned(),
            mongodb: None,
        }
    }
}

/// What moment a dump shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// One transaction snapshot.
    Snapshot,
    /// A snapshot and the log up to one moment.
    PointInTime,
    /// Each part of its own moment.
    None,
}

/// One reversible change of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    Zstd,
    Age,
}

/// One object: where it lies relative to the save's directory, and what proves it whole.
///
/// A dump that is longer than its store's objects may be is cut into `dump.0001`, `dump.0002`, … at any byte of its stored
/// stream. Its raw facts are those of the whole dump then, and stand with its first object; the others have none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ManifestObject {
    /// `dump.0001`, `globals.sql.zst`: the last segment of the key.
    pub part: String,
    pub key: StoreKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_bytes: Option<u64>,
    pub stored_bytes: u64,
    /// BLAKE3 of the raw bytes, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// SHA-256 of the stored bytes, in hex: `sha256sum` checks it.
    pub sha256: String,
}

impl Manifest {
    /// Raw bytes of everything that was saved.
    pub fn raw_bytes(&self) -> u64 {
        self.objects.iter().filter_map(|object| object.raw_bytes).sum()
    }

    /// Stored bytes of this copy, without the manifest.
    pub fn stored_bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.stored_bytes).sum()
    }
}

/// The manifest of a copy in an encrypted store, as it lies there: what names it, in clear, and the rest.
///
/// `jq -r .body manifest.json | base64 -d | age -d -i KEY` gives the [`Manifest`]. The head proves nothing: a reader compares
/// it with the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedManifest {
    pub format: u32,
    pub installation: InstallationId,
    pub save: SaveId,
    pub service: Slug,
    pub target: Slug,
    pub encryption: Sealing,
    /// An age file in base64.
    pub body: String,
}

/// To whom something is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sealing {
    /// The public keys, `age1…`; any one of their identities reads it.
    AgeRecipients(Vec<String>),
    AgePassphrase,
}
