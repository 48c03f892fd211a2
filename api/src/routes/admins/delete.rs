//! `DELETE /v1/admins/{id}`: with roles, sessions and tokens. What the admin did stays in the audit log and with the jobs.

use axum::http::StatusCode;
use serde_json::json;
use shared::{db::admins, id::AdminId};

use super::{Admin, a_super_is_left, missing};
use crate::{audit::Change, call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Deletes an admin, with roles, sessions and tokens.
#[utoipa::path(
    delete, path = "/v1/admins/{id}",
    responses((status = 204), (status = 409, description = "it is the last super who can log in")),
)]
pub async fn handle(call: Call, Path(id): Path<AdminId>) -> Result<StatusCode, ApiError> {
    let permission = Permission::AdminDelete;
    call.authorize(permission, None)?;
    call.person()?;
    let mut tx = call.begin().await?;
    admins::lock_supers(&mut tx).await?;
    let row = admins::get(&mut tx, id).await?.ok_or_else(missing)?;
    let grants = admins::grants(&mut tx, &[id]).await?;
    call.check_match(&Admin::from((row.clone(), grants)))?;
    admins::delete(&mut tx, id).await?;
    a_super_is_left(&mut tx).await?;
    call.commit(tx, Change::new(permission, id, None, json!({ "name": row.name }))).await?;
    Ok(StatusCode::NO_CONTENT)
}
