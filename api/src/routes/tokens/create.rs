//! `POST /v1/tokens`: a token for a program, shown in this answer and never again.

use std::fmt;

use axum::response::Response;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    admin::Role,
    db::api_tokens::{self, NewApiToken},
    id::{ApiTokenId, ServiceId},
    name::Slug,
};

use super::ApiToken;
use crate::{
    audit::Change,
    auth::{
        api_token::narrowed,
        opaque::{self, Kind},
    },
    call::{Call, created},
    error::ApiError,
    extract::Json,
};

const DEFAULT_DAYS: u32 = 90;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// An API token that is wanted.
#[schema(example = json!({ "name": "nightly", "role": "operator", "expires_in_days": 30 }))]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Unique among the owner's live tokens.
    name: Slug,
    /// `viewer`, `operator` or `admin`, and no more than the caller has.
    role: Role,
    /// The one service it is for; absent: wherever the caller has roles.
    service_id: Option<ServiceId>,
    /// 1 to `auth.api_token_days`; absent: 90, or the most if that is less.
    #[schema(minimum = 1)]
    expires_in_days: Option<u32>,
}

/// The new token.
#[derive(Serialize, utoipa::ToSchema)]
pub struct CreatedToken {
    #[serde(flatten)]
    api_token: ApiToken,
    /// For `Authorization: Bearer`. It is shown this once.
    #[schema(example = "hfa_9mCq0p1k3v7sX2bN5t8yZ4wA6dF1gH0jK")]
    token: String,
}

impl fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedToken").field("api_token", &self.api_token).finish_non_exhaustive()
    }
}

/// Makes an API token for a program.
///
/// It is shown in this answer and never again.
#[utoipa::path(
    post, path = "/v1/tokens",
    request_body = CreateToken,
    responses((status = 201, body = CreatedToken), (status = 409, description = "the caller has a token of that name")),
)]
pub async fn handle(call: Call, Json(body): Json<CreateToken>) -> Result<Response, ApiError> {
    call.person()?;
    let most = call.state.api_token_days;
    let days = body.expires_in_days.unwrap_or(DEFAULT_DAYS.min(most));
    if !(1..=most).contains(&days) {
        return Err(ApiError::field("/expires_in_days", format!("must be 1 to {most}")));
    }
    if body.role == Role::Super {
        return Err(ApiError::field("/role", "must be viewer, operator or admin: no program is super"));
    }
    let left = narrowed(&call.who.roles, body.role, body.service_id).into_iter().map(|(role, _)| role).max();
    match left {
        Some(role) if role == body.role => {}
        // Word for word what is said of a service that does not exist.
        None if body.service_id.is_some() => return Err(ApiError::field("/service_id", "is no service")),
        _ => return Err(ApiError::field("/role", "is more than you may do there yourself")),
    }

    let (id, made) = (ApiTokenId::generate(), opaque::generate(Kind::Api)?);
    let new = NewApiToken {
        id,
        hash: &made.hash,
        admin_id: call.who.admin_id,
        name: &body.name,
        role: body.role,
        service_id: body.service_id,
        days: i32::try_from(days).unwrap_or(i32::MAX),
    };
    let mut tx = call.begin().await?;
    api_tokens::insert(&mut tx, &new).await.map_err(|error| match error.constraint() {
        Some("api_tokens_name") => ApiError::Conflict("you have a token of that name already".into()),
        Some("api_tokens_service_id_fkey") => ApiError::field("/service_id", "is no service"),
        _ => error.into(),
    })?;
    let row = api_tokens::get(&mut tx, id).await?.ok_or(ApiError::NotFound("token"))?;
    let change = Change {
        action: "token.create",
        resource: "token",
        id: id.to_string(),
        service: body.service_id,
        detail: json!({ "name": row.name, "role": row.role, "expires_at": row.expires_at }),
    };
    call.commit(tx, change).await?;
    let token = made.text.expose_secret().to_owned();
    Ok(created("/v1/tokens", id, CreatedToken { api_token: row.into(), token }))
}
