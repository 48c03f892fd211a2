//! `DELETE /v1/admins/{id}/roles/{role}?service=…`: takes a role away; without `service` the global one.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use shared::{
    admin::Role,
    db::admins,
    id::{AdminId, ServiceId},
};

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::Path,
    rbac::Permission,
    routes::admins::{a_super_is_left, seen},
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Of {
    /// The service that the role is for; absent: the global role.
    service: Option<ServiceId>,
}

/// Takes a role away.
#[utoipa::path(
    delete, path = "/v1/admins/{id}/roles/{role}",
    params(("role" = Role, Path, description = "The role."), Of),
    responses((status = 204), (status = 409, description = "it is the last super who can log in")),
)]
pub async fn handle(call: Call<Of>, Path((id, role)): Path<(AdminId, Role)>) -> Result<StatusCode, ApiError> {
    let service = call.query.service;
    call.person()?;
    let mut tx = call.begin().await?;
    seen(&call, &mut tx, id).await?;
    let permission = if service.is_some() { Permission::RoleRevoke } else { Permission::RoleGlobal };
    call.authorize(permission, service)?;
    if role == Role::Super {
        admins::lock_supers(&mut tx).await?;
    }
    if !admins::revoke(&mut tx, id, role, service).await? {
        return Err(ApiError::NotFound("role"));
    }
    if role == Role::Super {
        a_super_is_left(&mut tx).await?;
    }
    call.commit(tx, Change::new(permission, id, service, json!({ "role": role, "service_id": service }))).await?;
    Ok(StatusCode::NO_CONTENT)
}
