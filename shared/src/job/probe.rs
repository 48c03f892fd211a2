//! Look at a target: can it be reached, how large is it, what can the role not read?

use serde::{Deserialize, Serialize};

use crate::id::TargetId;

/// The payload of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeJob {
    pub v: u16,
    pub target_id: TargetId,
}
