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
    drift::Suspicion,
    id::{AdminId, JobId, SaveId, ServiceId, TargetId},
    job::Problem,
    save::{Mode, Origin, SaveState, Scope},
    schedule::Depth,
};

/// A save as lists show it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of design §4, as the row has them")]
pub struct Save {
    pub id: SaveId,
    pub target_id: TargetId,
    pub service_id: ServiceId,
    /// Counted per target, from 1.
    #[schema(example = 7)]
    pub version: i32,
    pub state: SaveState,
    pub scope: Scope,
    pub origin: Origin,
    pub mode: Mode,
    /// How many copies must be good.
    #[schema(example = 1)]
    pub required_copies: i32,
    /// The job that made it; none: it was found in a store.
    pub job_id: Option<JobId>,
    pub requested_by: Option<AdminId>,
    /// For people.
    #[schema(example = "before the move")]
    pub note: String,
    /// Of the dump, before it is packed.
    pub raw_bytes: Option<i64>,
    /// Of one copy.
    pub stored_bytes: Option<i64>,
    /// What the dump could not do as it should.
    pub warnings: Vec<String>,
    /// Why there is no save, where it failed.
    pub error: Option<Problem>,
    /// Whether enough copies are good, as far as is known, and nobody found it to be of no use. One that is not valid is restored
    /// only by whoever insists.
    pub valid: bool,
    /// Why a person called it invalid; null: nobody did.
    pub invalid_reason: Option<String>,
    /// Why a verification found it to be of no use although its bytes are what was saved; null: none did.
    pub unusable_reason: Option<String>,
    /// Whether somebody known here has signed it.
    pub trusted: bool,
    /// Whether it is out of line with those before it.
    pub suspicious: bool,
    /// In what it is, or was until it was accepted, out of line with those before it.
    pub suspicions: Vec<Suspicion>,
    /// Whether it may be deleted.
    pub pinned: bool,
    /// When enough copies were last read whole and found good, and the save passed what else was looked at.
    pub verified_at: Option<DateTime<Utc>>,
    /// The deepest verification that it has passed, until one as deep does not.
    pub verified_depth: Option<Depth>,
    /// When it will be deleted; none: never by itself.
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
            unusable_reason: row.unusable_reason,
            trusted: row.trusted,
            suspicious: row.suspicious,
            suspicions: row.suspicions.map(|found| found.0).unwrap_or_default(),
            pinned: row.pinned,
            verified_at: row.verified_at,
            verified_depth: row.verified_depth,
            expires_at: row.expires_at,
            created_at: row.created_at,
            available_at: row.available_at,
            deleted_at: row.deleted_at,
        }
    }
}
