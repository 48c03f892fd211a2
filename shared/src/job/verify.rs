//! Read a save again, whole, and say which of its copies are what was saved; and, where that is wanted, whether it is of use.

use serde::{Deserialize, Serialize};

use crate::{id::SaveId, name::Slug, schedule::Depth};

/// The payload of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyJob {
    pub v: u16,
    pub save_id: SaveId,
    /// The copies in these stores alone; empty: all of them.
    #[serde(default)]
    pub stores: Vec<Slug>,
    /// Whether a copy that is found broken is made again from a good one.
    #[serde(default)]
    pub repair: bool,
    /// How deep it looks.
    #[serde(default)]
    pub depth: Depth,
}
