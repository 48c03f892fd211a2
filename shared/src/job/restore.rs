//! Put a save back.

use serde::{Deserialize, Serialize};

use super::Part;
use crate::{
    id::{SaveId, TargetId},
    name::DatabaseName,
};

/// Who owns what is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OwnerPolicy {
    /// As dumped: needs the roles on the server and a restore role that may set them.
    Keep,
    /// The restoring role owns everything.
    #[default]
    None,
}

/// Whether grants are restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PrivilegePolicy {
    Keep,
    #[default]
    None,
}

/// How a database is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By swap where the restore role may create and rename databases, else directly.
    #[default]
    Auto,
    /// The save is restored beside the database, and the two are swapped at the end. The old one is kept.
    Swap,
    /// The save's objects are replaced inside the database, in one transaction. What the save does not hold stays.
    Direct,
}

/// What a whole database is held against once it is restored, before it gets its name: the inventory of the save.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Rows and their contents: all of it is read once more.
    #[default]
    Digest,
    /// The number of rows per table.
    Rows,
    Off,
}

/// Seconds that an old database is kept unless said otherwise: a day.
pub const KEEP_OLD_S: u32 = 86_400;

const fn keep_old_s() -> u32 {
    KEEP_OLD_S
}

/// The payload of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreJob {
    pub v: u16,
    pub save_id: SaveId,
    /// Whose server and restore credential are used.
    pub target_id: TargetId,
    /// The database to create, which must not exist; or, in place, the one that is changed.
    pub database: DatabaseName,
    #[serde(default)]
    pub owner: OwnerPolicy,
    #[serde(default)]
    pub privileges: PrivilegePolicy,
    /// The database exists, and what is restored takes the place of what it has. A whole save: the target's own.
    #[serde(default)]
    pub in_place: bool,
    #[serde(default)]
    pub method: Method,
    /// Seconds that the old database is kept after a swap.
    #[serde(default = "keep_old_s")]
    pub keep_old_s: u32,
    /// The save that is made of what is there, before it is replaced.
    #[serde(default)]
    pub safety_save_id: Option<SaveId>,
    /// How much of the save.
    #[serde(default)]
    pub part: Part,
    /// Of a whole save that is restored beside what is there.
    #[serde(default)]
    pub compare: Compare,
    /// In place by swap, but for the swap: what is restored is kept beside the database until somebody swaps it in, as one
    /// of a data set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stands_by: bool,
}
