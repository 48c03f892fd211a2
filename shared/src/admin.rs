//! Admins: the roles, from the least to the most.

use serde::{Deserialize, Serialize};

/// What an admin may do, globally or for one service. The order is the order of power: each role may do what the
/// ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "db", derive(sqlx::Type), sqlx(type_name = "text", rename_all = "snake_case"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Backs up, restores into new databases, follows and cancels jobs.
    Operator,
    /// Registers and changes what is backed up.
    Admin,
    /// Everything, other admins included; only ever global.
    Super,
}
