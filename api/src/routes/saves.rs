//! Saves: what was kept, and putting it back.

pub mod accept;
pub mod content;
pub mod copies;
pub mod delete;
pub mod get;
pub mod list;
mod part;
pub mod report;
pub mod restore;
pub mod update;
pub mod verify;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    db::saves::SaveRow,
    id::{AdminId, JobId, SaveId, ServiceId, TargetId},
    job::Problem,
    save::{Mode, Origin, SaveState, Scope},
};

/// A save as lists show it.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of design §4, as the row has them")]
pub struct Save {
    pub id: SaveId,
    pub target_id: TargetId,
    pub service_id: ServiceId,
    pub version: i32,
    pub state: SaveState,
    pub scope: Scope,
    pub origin: Origin,
    pub mode: Mode,
    pub required_copies: i32,
    pub job_id: Option<JobId>,
    pub requested_by: Option<AdminId>,
    pub note: String,
    pub raw_bytes: Option<i64>,
    pub stored_bytes: Option<i64>,
    pub warnings: Vec<String>,
    pub error: Option<Problem>,
    pub valid: bool,
    /// Why a person called it invalid; null: nobody did.
    pub invalid_reason: Option<String>,
    pub trusted: bool,
    pub suspicious: bool,
    pub pinned: bool,
    pub verified_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub available_at: Option<DateTime<Utc>>,
    pub deleted_at: Option<DateTime<Utc>>,
}

impl From<SaveRow> for Save {
    fn from(row: SaveRow) -> Self {
        Self {
            id: row.id,
            target_id: row.target_id,
            service_id: row.service_id,
            version: row.version,
            state: row.state,
            scope: row.scope,
            origin: row.origin,
            mode: row.mode,
            required_copies: row.required_copies,
            job_id: row.job_id,
            requested_by: row.requested_by,
            note: row.note,
            raw_bytes: row.raw_bytes,
            stored_bytes: row.stored_bytes,
            warnings: row.warnings.0,
            error: row.error.map(|error| error.0),
            valid: row.valid,
            invalid_reason: row.invalid_reason,
            trusted: row.trusted,
            suspicious: row.suspicious,
            pinned: row.pinned,
            verified_at: row.verified_at,
            expires_at: row.expires_at,
            created_at: row.created_at,
            available_at: row.available_at,
            deleted_at: row.deleted_at,
        }
    }
}
