//! `POST /v1/admins`: an admin with a password, and roles where they are given.

use axum::response::Response;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use shared::{admin::AdminName, db::admins, id::AdminId};

use super::{Admin, Grant, missing, taken, unusable};
use crate::{
    audit::Change,
    call::Call,
    error::{ApiError, OnConstraint},
    extract::Json,
    rbac::Permission,
};

const MAX_ROLES: usize = 100;

/// An admin to be.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({ "name": "anna", "password": "tungsten violet march 44", "roles": [{ "role": "viewer" }] }))]
#[serde(deny_unknown_fields)]
pub struct CreateAdmin {
    /// 1 to 128 printable characters; kept in lower case.
    name: AdminName,
    /// 12 to 128 characters, and not one that is easy to guess.
    #[schema(value_type = String, format = Password, write_only, min_length = 12, max_length = 128)]
    password: SecretString,
    /// At most 100. Without one the admin may log in and nothing more.
    #[serde(default)]
    roles: Vec<Grant>,
}

/// Creates an admin.
#[utoipa::path(
    post, path = "/v1/admins",
    request_body = CreateAdmin,
    responses((status = 201, body = Admin), (status = 409, description = "the name is taken")),
)]
pub async fn handle(call: Call, Json(body): Json<CreateAdmin>) -> Result<Response, ApiError> {
    let permission = Permission::AdminCreate;
    call.authorize(permission, None)?;
    call.person()?;
    if body.roles.len() > MAX_ROLES {
        return Err(ApiError::field("/roles", format!("holds more than {MAX_ROLES}")));
    }
    for (index, grant) in body.roles.iter().enumerate() {
        grant.check(&format!("/roles/{index}"))?;
    }
    let hash = call.state.passwords.hash_new(body.password, body.name.as_str()).await.map_err(unusable)?;
    let id = AdminId::generate();
    let mut tx = call.begin().await?;
    admins::insert(&mut tx, id, &body.name, &hash).await.on_constraint("admins_name_key", taken)?;
    for (index, grant) in body.roles.iter().enumerate() {
        grant.give(&mut tx, id, call.who.admin_id, &format!("/roles/{index}")).await?;
    }
    let row = admins::get(&mut tx, id).await?.ok_or_else(missing)?;
    let grants = admins::grants(&mut tx, &[id]).await?;
    let roles: Vec<_> = grants.iter().map(|g| json!({ "role": g.role, "service_id": g.service_id })).collect();
    let change = Change::new(permission, id, None, json!({ "name": row.name, "roles": roles }));
    call.create(tx, change, "/v1/admins", id, Admin::from((row, grants))).await
}
