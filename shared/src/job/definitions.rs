//! Keep what a service's broker is made of.

use serde::{Deserialize, Serialize};

use crate::id::ServiceId;

/// The payload of a look at a broker's definitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionsJob {
    pub v: u16,
    pub service_id: ServiceId,
}
