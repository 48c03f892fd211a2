//! Dump a target into its stores.

use serde::{Deserialize, Serialize};

use crate::{
    id::{SaveId, TargetId},
    name::{CollectionName, DatabaseName},
    save::Mode,
};

/// A table by its literal schema and name. An identifier has the bounds of a database's name (NAMEDATALEN − 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TableName {
    /// `public`, as it stands in the catalogue: no quotes.
    pub schema: DatabaseName,
    /// Its name, or a partitioned table's, or a view's.
    pub table: DatabaseName,
}

/// The payload of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupJob {
    pub v: u16,
    pub save_id: SaveId,
    pub target_id: TargetId,
    pub mode: Mode,
    /// Only these tables; empty: all.
    #[serde(default)]
    pub tables: Vec<TableName>,
    #[serde(default)]
    pub exclude_tables: Vec<TableName>,
    /// Of a `MongoDB` target, only these collections; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collections: Vec<CollectionName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_collections: Vec<CollectionName>,
    /// Raw bytes per second at most; none: as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}
