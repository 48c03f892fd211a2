//! How a schedule fires.

use serde::{Deserialize, Serialize};

use crate::{
    id::CredentialId,
    job::TableName,
    name::{CollectionName, Slug},
    save::Mode,
};

/// How a schedule fires: everything but the expression and its zone. What is left out has the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ScheduleSettings))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// What of each database is dumped.
    pub mode: Mode,
    /// PostgreSQL tables that are left out: the saves are then partial.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_tables: Vec<TableName>,
    /// MongoDB collections that are left out: the saves are then partial.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_collections: Vec<CollectionName>,
    /// Some of the target's stores; empty: all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<Slug>,
    /// Seconds at most by which a firing is put off, so that not everything begins in one second. The same slot always has
    /// the same.
    pub jitter_s: u32,
    /// What is made up for after a time in which no scheduler ran.
    pub catch_up: CatchUp,
    /// When it may fire; empty: always. A firing outside is skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// What happens where the jobs of the slot before have not ended.
    pub overlap: Overlap,
    /// Raw bytes per second at most, for each dump; none: as fast as it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
    /// 0 to 9; none: 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i16>,
    /// Of a schedule that covers a server: which databases, and what a newly found one becomes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
}

/// Which databases of a server are saved, and what a newly found one becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Discovery {
    /// Names with `*` and `?`; empty: every database.
    #[serde(default)]
    pub include: Vec<String>,
    /// Names with `*` and `?` that are left out whatever `include` says. Templates and the system's own always are.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// What the new targets are backed up with.
    pub backup_credential_id: CredentialId,
    /// Where the new targets' saves lie.
    pub stores: Vec<Slug>,
    /// How many copies of each save must be good; none: one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_copies: Option<u16>,
}

/// What is made up for after a time in which no scheduler ran. Whatever is not is written down as missed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    None,
    /// The latest of the slots that were due.
    #[default]
    Last,
    All,
}

/// What happens where the jobs of the slot before have not ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The slot is skipped, and says so.
    #[default]
    Skip,
    /// Its jobs wait in the queue behind those of the slot before.
    Queue,
}

/// A time of the week in which a schedule may fire, in the schedule's zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Days on which it begins, 0 and 7 for Sunday; empty: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<u8>,
    /// `HH:MM`, on the wall clock.
    #[cfg_attr(feature = "openapi", schema(example = "22:00"))]
    pub from: String,
    /// `HH:MM`, on the wall clock; at or before `from`: on the next day.
    #[cfg_attr(feature = "openapi", schema(example = "06:00"))]
    pub until: String,
}
