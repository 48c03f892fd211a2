//! Take a save away.

use serde::{Deserialize, Serialize};

use crate::id::SaveId;

/// The payload of a deletion. The save is `deleting` already when the job is enqueued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteJob {
    pub v: u16,
    pub save_id: SaveId,
}
