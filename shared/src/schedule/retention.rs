//! How long the saves of a schedule are kept.

use serde::{Deserialize, Serialize};

/// How long the full saves of a schedule are kept, per target: a save stays while any of the rules keeps it. Counts are of
/// periods in the schedule's zone, of which the newest save stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// The newest saves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// Weeks of ISO 8601, from Monday.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,
    /// Everything that is younger, in days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_days: Option<u32>,
    /// The newest verified saves that stay whatever else is said; none: one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<u32>,
}
