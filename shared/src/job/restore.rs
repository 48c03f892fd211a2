//! Put a save back.

use serde::{Deserialize, Serialize};

use super::Part;
use crate::{
    id::{SaveId, TargetId},
    name::DatabaseName,
};

/// Who owns what is restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[serde(rename_all = "snake_case")]
pub enum PrivilegePolicy {
    Keep,
    #[default]
    None,
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
    /// The database exists, and what is restored takes the place of what it has.
    #[serde(default)]
    pub in_place: bool,
    /// How much of the save.
    #[serde(default)]
    pub part: Part,
}
