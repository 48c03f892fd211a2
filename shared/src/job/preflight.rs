//! Look what a restore would do and what would keep it from doing so. Nothing is changed.

use serde::{Deserialize, Serialize};

use super::RestoreJob;

/// The payload of a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreflightJob {
    pub v: u16,
    /// The restore that is thought of. Without a safety save: none is begun for a look.
    pub restore: RestoreJob,
}
