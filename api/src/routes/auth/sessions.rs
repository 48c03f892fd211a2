//! Sessions: who is logged in, from where.

pub mod delete;
pub mod list;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{db::sessions::SessionRow, id::SessionId};

/// A live session as the API shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Session {
    id: SessionId,
    /// Where the login came from.
    address: Option<String>,
    created_at: DateTime<Utc>,
    /// When its refresh token was last exchanged; null: never.
    refreshed_at: Option<DateTime<Utc>>,
    /// Its absolute end.
    expires_at: DateTime<Utc>,
    /// Whether it is the caller's own.
    current: bool,
}

impl From<(SessionRow, SessionId)> for Session {
    fn from((row, current): (SessionRow, SessionId)) -> Self {
        Self {
            id: row.id,
            address: row.address,
            created_at: row.created_at,
            refreshed_at: row.refreshed_at,
            expires_at: row.expires_at,
            current: row.id == current,
        }
    }
}
