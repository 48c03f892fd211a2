//! Collect what dead attempts left in the stores, and report what nobody knows.

use serde::{Deserialize, Serialize};

use crate::name::Slug;

/// The payload of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcJob {
    pub v: u16,
    /// This store alone; else all stores of the worker that runs the job.
    #[serde(default)]
    pub store: Option<Slug>,
    /// Report only: nothing is written or removed.
    pub dry_run: bool,
}
