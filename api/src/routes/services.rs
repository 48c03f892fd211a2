//! Services.

pub mod backups;
pub mod broker;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod update;
pub mod wipe;

use chrono::{DateTime, Utc};
use shared::{db::services::ServiceRow, id::ServiceId, name::Slug};

use crate::{error::ApiError, view::view};

view! {
    /// A service as the API shows it.
    pub struct Service of ServiceRow {
        id: ServiceId,
        /// Unique among services; stands in object keys and routing keys.
        name: Slug,
        /// For people; at most 500 characters.
        #[schema(example = "what the items are")]
        description: String,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

const MAX_DESCRIPTION: usize = 500;

fn taken() -> ApiError {
    ApiError::Conflict("a service of that name exists already".into())
}

/// It is the service that does not exist for an admin without a role there, not what was asked of it.
fn hidden(error: ApiError) -> ApiError {
    match error {
        ApiError::NotFound(_) => ApiError::NotFound("service"),
        error => error,
    }
}
