//! Empty queues of a service's broker.

use serde::{Deserialize, Serialize};

use crate::{
    id::{GroupId, ServiceId},
    wipe::KeepPattern,
};

/// The payload of a purge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeJob {
    pub v: u16,
    pub service_id: ServiceId,
    /// The queues, as the service named them when it was asked for.
    pub queues: Vec<KeepPattern>,
    /// Whose wipes have all to succeed before. None: it stands for itself.
    #[serde(default)]
    pub after_group: Option<GroupId>,
    /// Only looks.
    #[serde(default)]
    pub dry_run: bool,
}
