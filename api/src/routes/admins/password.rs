//! `POST /v1/admins/{id}/password`: one's own by whoever knows it, another's by a super.
//!
//! Every session of the admin ends, the one that asks included: whoever had the old password is out.

use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::{admins, sessions},
    id::AdminId,
};

use super::{missing, unusable};
use crate::{
    audit::Change,
    auth::password::Verdict,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::auth::login::{MAX_FAILURES, WINDOW_S},
};

/// A new password.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(example = json!({ "password": "tungsten violet march 44", "current_password": "the one of before" }))]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// The new one: 12 to 128 characters, and not one that is easy to guess.
    #[schema(value_type = String, format = Password, write_only, min_length = 12, max_length = 128)]
    password: SecretString,
    /// The present one: needed for one's own, not looked at for another's.
    #[schema(value_type = Option<String>, format = Password, write_only)]
    current_password: Option<SecretString>,
}

/// Changes a password: one's own, or as a super another's.
///
/// Every session of the admin ends.
#[utoipa::path(
    post, path = "/v1/admins/{id}/password",
    request_body = ChangePassword,
    responses((status = 204), (status = 429, description = "ten wrong passwords in 15 minutes, logins among them")),
)]
pub async fn handle(
    call: Call,
    Path(id): Path<AdminId>,
    Json(body): Json<ChangePassword>,
) -> Result<StatusCode, ApiError> {
    let permission = Permission::AdminPassword;
    call.person()?;
    let own = id == call.who.admin_id;
    if !own {
        call.authorize(permission, None)?;
    }
    let admin = admins::by_id(&mut *call.conn().await?, id).await?.ok_or_else(missing)?;
    if own {
        let current = body.current_password.ok_or_else(|| current("is needed to change one's own password"))?;
        proven(&call, &admin.name, &current, admin.password_hash).await?;
        if current.expose_secret() == body.password.expose_secret() {
            return Err(ApiError::field("/password", "is the present one"));
        }
    }
    let hash = call.state.passwords.hash_new(body.password, &admin.name).await.map_err(unusable)?;
    let mut tx = call.begin().await?;
    if own {
        sessions::clear_failures(&mut tx, &admin.name, call.address()).await?;
    }
    admins::set_password(&mut tx, id, &hash).await?;
    sessions::revoke_all(&mut tx, id).await?;
    call.commit(tx, Change::new(permission, id, None, json!({ "own": own }))).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn current(detail: &str) -> ApiError {
    ApiError::field("/current_password", detail)
}

/// Checks the present password, throttled together with the logins: whoever has found an open session must not guess here
/// what they may not guess there.
async fn proven(call: &Call, name: &str, password: &SecretString, phc: String) -> Result<(), ApiError> {
    let mut tx = call.state.pool.begin().await?;
    sessions::lock_logins(&mut tx, name, call.address()).await?;
    let (failures, wait_s) = sessions::recent_failures(&mut tx, name, call.address(), WINDOW_S).await?;
    if failures >= MAX_FAILURES {
        return Err(ApiError::TooManyRequests { retry_after_s: u64::try_from(wait_s).unwrap_or(1).max(1) });
    }
    sessions::record_failure(&mut tx, name, call.address()).await?;
    tx.commit().await?;
    let verdict = call.state.passwords.verify(password.clone(), phc).await;
    if verdict.map_err(|error| ApiError::Internal(error.into()))? == Verdict::Wrong {
        call.refused(Permission::AdminPassword, None);
        return Err(current("is wrong"));
    }
    Ok(())
}
