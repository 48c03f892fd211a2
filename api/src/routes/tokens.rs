//! API tokens: made and ended by people, presented by programs.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;

use chrono::{DateTime, Utc};
use shared::{
    admin::Role,
    db::api_tokens::{self, ApiTokenRow},
    id::{AdminId, ApiTokenId, ServiceId},
    name::Slug,
};
use sqlx::PgConnection;

use crate::{call::Call, error::ApiError, rbac::Permission, view::view};

view! {
    /// An API token as the API shows it: never what it is presented as.
    pub struct ApiToken of ApiTokenRow {
        id: ApiTokenId,
        name: Slug,
        /// The owner.
        admin_id: AdminId,
        admin_name: String,
        /// The most it may do, where its owner may do as much.
        role: Role,
        /// Null: wherever its owner has roles.
        service_id: Option<ServiceId>,
        created_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
        /// Exact to a minute; null: never used.
        last_used_at: Option<DateTime<Utc>>,
        /// Null: it was not ended before its time.
        revoked_at: Option<DateTime<Utc>>,
    }
}

/// A token that is the caller's own, or anybody's where the caller is super. Of others' nobody else learns that they are there.
async fn reachable(call: &Call, conn: &mut PgConnection, id: ApiTokenId) -> Result<ApiTokenRow, ApiError> {
    call.person()?;
    let row = api_tokens::get(conn, id).await?;
    let own = row.as_ref().is_some_and(|row| row.admin_id == call.who.admin_id);
    if !own && call.authorize(Permission::TokenManage, None).is_err() {
        return Err(ApiError::NotFound("token"));
    }
    row.ok_or(ApiError::NotFound("token"))
}
