//! Make one copy of a save whole again, from another.

use serde::{Deserialize, Serialize};

use crate::{id::SaveId, name::Slug};

/// The payload of a repair: the copy in this store is missing or corrupt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyJob {
    pub v: u16,
    pub save_id: SaveId,
    pub store: Slug,
}
