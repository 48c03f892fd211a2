//! Let go of what a schedule's retention does not keep, of one target.

use serde::{Deserialize, Serialize};

use crate::id::{ScheduleId, TargetId};

/// The payload of a retention. What it removes is decided when it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionJob {
    pub v: u16,
    pub schedule_id: ScheduleId,
    pub target_id: TargetId,
}
