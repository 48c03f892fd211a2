//! Targets, and what is asked of them.

pub mod backups;
pub mod create;
pub mod delete;
pub mod get;
pub mod import;
pub mod list;
pub mod probe;
pub mod update;
pub mod wipe;

use chrono::{DateTime, Utc};
use shared::{
    db::targets::TargetRow,
    drift::Drift,
    id::{CredentialId, ServerId, ServiceId, TargetId},
    name::{DatabaseName, Slug},
    server::MongoMode,
    wipe::{KeepPattern, MAX_PATTERNS},
};
use sqlx::types::Json;

use crate::{error::ApiError, state::AppState, view::view};

view! {
    /// A target as the API shows it.
    pub struct Target of TargetRow {
        id: TargetId,
        service_id: ServiceId,
        server_id: ServerId,
        /// Unique within the service.
        name: Slug,
        database: DatabaseName,
        /// A role that may read.
        backup_credential_id: CredentialId,
        /// A role that may write; none: the target cannot be restored into.
        restore_credential_id: Option<CredentialId>,
        /// Where its saves are kept.
        #[schema(example = json!(["main"]))]
        stores: Vec<String>,
        /// How many copies make a save available.
        #[schema(example = 1)]
        required_copies: i32,
        /// Whose workers can reach it.
        #[schema(example = "default")]
        worker_group: Slug,
        /// Seconds after which a job is given up; none: as configured.
        deadline_s: Option<i32>,
        /// Seconds without a byte after which an attempt is given up; none: as configured.
        stall_s: Option<i32>,
        /// What dumps and restores a MongoDB target.
        mongo_mode: MongoMode,
        /// When a save of it is suspicious; none: as usual.
        #[schema(value_type = Option<Drift>)]
        drift: Option<Json<Drift>>,
        /// What a wipe leaves alone: names of tables or collections, with `*` and `?`.
        #[schema(example = json!(["schema_migrations"]))]
        wipe_keep: Vec<String>,
        /// The version of its latest save.
        #[schema(example = 7)]
        last_version: i32,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

/// The bounds that the types do not hold.
fn check(state: &AppState, row: &TargetRow) -> Result<(), ApiError> {
    if !(1..=8).contains(&row.stores.len()) {
        return Err(ApiError::field("/stores", "must name 1 to 8 stores"));
    }
    for (index, store) in row.stores.iter().enumerate() {
        let pointer = format!("/stores/{index}");
        if row.stores.iter().take(index).any(|before| before == store) {
            return Err(ApiError::field(pointer, "is named twice"));
        }
        Slug::parse(store.as_str()).map_err(|error| ApiError::field(pointer.as_str(), error.to_string()))?;
        if !state.stores.is_empty() && !state.stores.iter().any(|known| known.as_str() == store) {
            return Err(ApiError::field(pointer, "is not a declared store"));
        }
    }
    if !(1..=i32::try_from(row.stores.len()).unwrap_or(8)).contains(&row.required_copies) {
        return Err(ApiError::field("/required_copies", "must be 1 to the number of stores"));
    }
    if row.deadline_s.is_some_and(|s| !(1..=604_800).contains(&s)) {
        return Err(ApiError::field("/deadline_s", "must be 1 to 604800"));
    }
    patterns("/wipe_keep", &row.wipe_keep)?;
    if row.stall_s.is_some_and(|s| !(1..=86_400).contains(&s)) {
        return Err(ApiError::field("/stall_s", "must be 1 to 86400"));
    }
    if let Some(Err(error)) = row.drift.as_ref().map(|drift| drift.check()) {
        return Err(ApiError::field(format!("/drift/{}", error.member), error.problem));
    }
    Ok(())
}

/// Patterns of what a wipe leaves alone.
pub(super) fn patterns(pointer: &str, texts: &[String]) -> Result<Vec<KeepPattern>, ApiError> {
    if texts.len() > MAX_PATTERNS {
        return Err(ApiError::field(pointer, format!("names more than {MAX_PATTERNS} patterns")));
    }
    let parse = |(index, text): (usize, &String)| {
        KeepPattern::parse(text.as_str())
            .map_err(|error| ApiError::field(format!("{pointer}/{index}"), error.to_string()))
    };
    texts.iter().enumerate().map(parse).collect()
}

/// What a broken constraint of `targets` means.
fn refused(error: shared::db::DbError) -> ApiError {
    match error.constraint() {
        Some("targets_service_id_name_key") => {
            ApiError::Conflict("the service has a target of that name already".into())
        }
        Some("targets_service_id_fkey") => ApiError::field("/service_id", "is no service"),
        Some("targets_server_id_fkey") => ApiError::field("/server_id", "is no server"),
        Some("targets_backup_credential_id_fkey") => ApiError::field("/backup_credential_id", "is no credential"),
        Some("targets_restore_credential_id_fkey") => ApiError::field("/restore_credential_id", "is no credential"),
        _ => error.into(),
    }
}
