//! Look which databases a server has, and have those saved that a schedule names.

use serde::{Deserialize, Serialize};

use crate::id::ScheduleId;

/// The payload of a discovery. Server, credential and patterns are those that the schedule has when the job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoverJob {
    pub v: u16,
    pub schedule_id: ScheduleId,
}
