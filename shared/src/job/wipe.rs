//! Empty a target's database: its rows go, its structure stays.

use serde::{Deserialize, Serialize};

use crate::{
    id::{SaveId, ServerId, TargetId},
    name::DatabaseName,
    wipe::KeepPattern,
};

/// Seconds that a wipe waits for a lock unless said otherwise.
pub const WIPE_LOCK_TIMEOUT_S: u32 = 30;

const fn lock_timeout_s() -> u32 {
    WIPE_LOCK_TIMEOUT_S
}

/// The payload of a wipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WipeJob {
    pub v: u16,
    pub target_id: TargetId,
    /// Where the target was when it was asked for: one that has moved since is not wiped.
    pub server_id: ServerId,
    pub database: DatabaseName,
    /// What is left alone: the target's own patterns and those of the request.
    #[serde(default)]
    pub keep: Vec<KeepPattern>,
    /// Only looks, in sessions that cannot write.
    #[serde(default)]
    pub dry_run: bool,
    /// The save that is made, and read back, before anything is destroyed.
    #[serde(default)]
    pub safety_save_id: Option<SaveId>,
    /// Seconds that it waits for locks that others hold.
    #[serde(default = "lock_timeout_s")]
    pub lock_timeout_s: u32,
}
