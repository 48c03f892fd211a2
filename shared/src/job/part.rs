//! Which part of a save is restored.

use serde::{Deserialize, Serialize};

use super::TableName;
use crate::{name::CollectionName, save::Mode};

/// What becomes of the save's extensions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExtensionPolicy {
    /// They are created where they are missing, and the restore fails where that is not possible.
    #[default]
    Require,
    /// They are left out: what needs them finds them there, or fails.
    Skip,
}

/// A part of a save; the default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Only these tables, with all that belongs to them; empty: everything.
    #[serde(default)]
    pub tables: Vec<TableName>,
    /// Of a `MongoDB` save, only these collections and views; empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collections: Vec<CollectionName>,
    /// Both halves, the structure alone, or the rows alone.
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub extensions: ExtensionPolicy,
}

impl Part {
    /// Whether it is the whole save.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.tables.is_empty()
            && self.collections.is_empty()
            && self.mode == Mode::All
            && self.extensions == ExtensionPolicy::Require
    }
}
