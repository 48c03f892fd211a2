//! Drop a database that a restore put aside and whose time is over.

use serde::{Deserialize, Serialize};

use crate::id::{KeptId, TargetId};

/// The payload of an expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireJob {
    pub v: u16,
    pub target_id: TargetId,
    pub kept_id: KeptId,
}
