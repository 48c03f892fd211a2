//! `POST /v1/admins/{id}/roles`: grants a role, and answers those that the caller may see. One that is there stays as it is.

use axum::{http::StatusCode, response::Response};
use serde_json::json;
use shared::id::AdminId;

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::admins::{Grant, Granted, no_service, seen},
};

/// Grants a role. One that is there already stays as it is.
#[utoipa::path(
    post, path = "/v1/admins/{id}/roles",
    request_body = Grant,
    responses((status = 200, body = [Granted])),
)]
pub async fn handle(call: Call, Path(id): Path<AdminId>, Json(grant): Json<Grant>) -> Result<Response, ApiError> {
    call.person()?;
    let mut tx = call.begin().await?;
    seen(&call, &mut tx, id).await?;
    grant.check("")?;
    let permission = if grant.service_id.is_some() { Permission::RoleGrant } else { Permission::RoleGlobal };
    match call.authorize(permission, grant.service_id) {
        Err(ApiError::NotFound(_)) => return Err(no_service("")),
        answer => answer?,
    }
    // A super has everything already; to all others it would be a way to keep what is taken from them elsewhere.
    let own = id == call.who.admin_id;
    if own && crate::rbac::authorize(&call.who, Permission::RoleGlobal, None).is_err() {
        call.refused(permission, grant.service_id);
        return Err(ApiError::Forbidden(permission.name()));
    }
    let is_new = grant.give(&mut tx, id, call.who.admin_id, "").await?;
    let (_, grants) = seen(&call, &mut tx, id).await?;
    let detail = json!({ "role": grant.role, "service_id": grant.service_id, "new": is_new });
    let change = Change::new(permission, id, grant.service_id, detail);
    let roles: Vec<Granted> = grants.into_iter().map(Granted::from).collect();
    call.answer(tx, change, StatusCode::OK, None, roles).await
}
