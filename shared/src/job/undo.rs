//! Swap a database that a restore put aside back into its place.

use serde::{Deserialize, Serialize};

use super::restore::KEEP_OLD_S;
use crate::id::{KeptId, TargetId};

const fn keep_old_s() -> u32 {
    KEEP_OLD_S
}

/// The payload of an undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoJob {
    pub v: u16,
    pub target_id: TargetId,
    /// What goes back into its place.
    pub kept_id: KeptId,
    /// Seconds that the database which makes way for it is kept.
    #[serde(default = "keep_old_s")]
    pub keep_old_s: u32,
    /// It is a step of the restore of a data set, which tells itself where it has come to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_data_set: bool,
}
