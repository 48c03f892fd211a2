//! Make a save of a dump that somebody brings.

use serde::{Deserialize, Serialize};

use crate::id::{SaveId, TargetId};

/// The payload of an import. The bytes come with a request: it runs on the worker that receives them, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportJob {
    pub v: u16,
    pub save_id: SaveId,
    pub target_id: TargetId,
}
