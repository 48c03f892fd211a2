//! `PATCH /v1/admins/{id}`: another name, another quota, or disabled and enabled again.

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
    /// Jobs a day (UTC), at most 1,000,000; 0: as many as they like; null: what the configuration says. It holds from the next
    /// job on.
    #[schema(minimum = 0, maximum = 1_000_000)]
    jobs_per_day: Merge<Option<i32>>,
}

/// More than anybody asks for: whoever wants no limit says 0.
const MOST_JOBS: i32 = 1_000_000;

/// Renames, disables or enables an admin, or sets their daily quota.
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
    let jobs_per_day = body.jobs_per_day.new_value().copied();
    if jobs_per_day.flatten().is_some_and(|jobs| !(0..=MOST_JOBS).contains(&jobs)) {
        return Err(ApiError::field("/jobs_per_day", format!("must be 0 to {MOST_JOBS}; 0 is no limit")));
    }
    let mut tx = call.begin().await?;
    // One change of an admin at a time: of who can log in, and of what the caller has seen.
    admins::lock_supers(&mut tx).await?;
    let before = admins::get(&mut tx, id).await?.ok_or_else(missing)?;
    let grants = admins::grants(&mut tx, &[id]).await?;
    call.check_match(&Admin::from((before.clone(), grants)))?;
    admins::update(&mut tx, id, name, disabled, jobs_per_day).await.on_constraint("admins_name_key", taken)?;
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
        "jobs_per_day": row.jobs_per_day,
        "jobs_per_day_before": before.jobs_per_day,
    });
    call.commit(tx, Change::new(permission, id, None, detail)).await?;
    etag::changed(&Admin::from((row, grants)))
}
