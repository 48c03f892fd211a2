//! Services.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod update;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{db::services::ServiceRow, id::ServiceId, name::Slug};

use crate::error::ApiError;

/// A service as the API shows it.
#[derive(Debug, Serialize)]
pub struct Service {
    pub id: ServiceId,
    pub name: Slug,
    pub description: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<ServiceRow> for Service {
    fn from(row: ServiceRow) -> Self {
        let ServiceRow { id, name, description, created_at, updated_at } = row;
        Self { id, name, description, created_at, updated_at }
    }
}

fn taken() -> ApiError {
    ApiError::Conflict("a service of that name exists already".into())
}

/// Text for people: at most `max` characters, no NUL.
pub(crate) fn text(pointer: &str, text: &str, max: usize) -> Result<(), ApiError> {
    if text.contains('\0') {
        return Err(ApiError::field(pointer, "holds a NUL character"));
    }
    if text.chars().count() > max {
        return Err(ApiError::field(pointer, format!("is longer than {max} characters")));
    }
    Ok(())
}
