//! `PATCH /v1/admins/{id}`: another name, or disabled and enabled again.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    admin::AdminName,
    db::{admins, sessions},
    id::AdminId,
};

use super::{Admin, a_super_is_left, missing, taken};
use crate::{
    audit::Change,
    call::Call,
    error::{ApiError, OnConstraint},
    etag,
    extract::{Json, Path},
    merge::Merge,
    rbac::Permission,
};

/// What is to change of an admin.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({ "disabled": true }))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateAdmin {
    /// 1 to 128 printable characters; kept in lower case.
    name: Merge<AdminName>,
    /// True ends every session at once; false lets the admin log in again.
    disabled: Merge<bool>,
}

/// Renames, disables or enables an admin.
#[utoipa::path(
    patch, path = "/v1/admins/{id}",
    request_body = UpdateAdmin,
    responses((status = 200, body = Admin), (status = 409, description = "the name is taken, or it is the last super who can log in")),
)]
pub async fn handle(call: Call, Path(id): Path<AdminId>, Json(body): Json<UpdateAdmin>) -> Result<Response, ApiError> {
    let permission = Permission::AdminUpdate;
    call.authorize(permission, None)?;
    call.person()?;
    let (name, disabled) = (body.name.new_value(), body.disabled.new_value().copied());
    let mut tx = call.begin().await?;
    // One change of an admin at a time: of who can log in, and of what the caller has seen.
    admins::lock_supers(&mut tx).await?;
    let before = admins::get(&mut tx, id).await?.ok_or_else(missing)?;
    let grants = admins::grants(&mut tx, &[id]).await?;
    call.check_match(&Admin::from((before.clone(), grants)))?;
    admins::update(&mut tx, id, name, disabled).await.on_constraint("admins_name_key", taken)?;
    if disabled == Some(true) {
        sessions::revoke_all(&mut tx, id).await?;
        a_super_is_left(&mut tx).await?;
    }
    let row = admins::get(&mut tx, id).await?.ok_or_else(missing)?;
    let grants = admins::grants(&mut tx, &[id]).await?;
    let detail = json!({
        "name": name,
        "name_before": before.name,
        "disabled": disabled,
        "disabled_before": before.disabled_at.is_some(),
    });
    call.commit(tx, Change::new(permission, id, None, detail)).await?;
    etag::changed(&Admin::from((row, grants)))
}
