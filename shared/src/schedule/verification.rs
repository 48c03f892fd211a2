//! How the saves of a schedule are proven, and how often.

use serde::{Deserialize, Serialize};

/// How deep a verification looks. Each includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "db", derive(sqlx::Type), sqlx(type_name = "text", rename_all = "snake_case"))]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = VerifyDepth))]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// The stored bytes are read and their digests compared.
    #[default]
    Hash,
    /// The bytes are opened and read to the end as what they are.
    Decode,
    /// The save is restored into a scratch database and compared with its inventory: a drill.
    Restore,
}

impl Depth {
    /// The word as it stands in tables and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hash => "hash",
            Self::Decode => "decode",
            Self::Restore => "restore",
        }
    }
}

/// How the saves of a schedule are proven: each depth after so many days, counted per target on its newest full save; none:
/// not of itself. A depth proves the lesser ones too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Verification {
    /// Days after which a target's newest save is read again and its digests compared; 0: each new save at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_days: Option<u32>,
    /// Days after which a target's newest save is opened and read to its end; 0: each new save at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_days: Option<u32>,
    /// Days after which a target's newest save is restored on a scratch server and compared; 0: each new save at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_days: Option<u32>,
}
