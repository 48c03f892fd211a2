//! Who calls: the access token, the session behind it, the roles. Checked on each request, so that a logout, a disabled
//! admin or a changed role acts at once.

pub mod password;
pub mod token;

use axum::{extract::FromRequestParts, http::request::Parts};
use shared::{
    admin::Role,
    db::{admins, sessions},
    id::{AdminId, ServiceId, SessionId},
};

use crate::{error::ApiError, gate::Context, state::AppState};

/// An authenticated admin.
#[derive(Debug, Clone)]
pub struct Identity {
    pub admin_id: AdminId,
    pub name: String,
    pub session_id: SessionId,
    /// Role and service; no service: global.
    pub roles: Vec<(Role, Option<ServiceId>)>,
}

impl FromRequestParts<AppState> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let now = chrono::Utc::now().timestamp();
        let text = presented(parts).ok_or(ApiError::Unauthorized)?;
        let claims = state.tokens.verify(text, now).map_err(|_| ApiError::Unauthorized)?;
        let mut conn = state.pool.acquire().await?;
        let session = sessions::live(&mut conn, claims.sid).await?.ok_or(ApiError::Unauthorized)?;
        if session.admin_id != claims.sub || session.token_version != claims.ver {
            return Err(ApiError::Unauthorized);
        }
        let roles = admins::roles(&mut conn, claims.sub).await?;
        drop(conn);
        let context = Context::of(parts)?;
        context.identified(claims.sub, &session.admin_name);
        if state.tokens.renews() {
            let subject = token::Subject { admin: claims.sub, session: claims.sid, version: claims.ver };
            let (renewed, _) = state.tokens.issue(subject, now, session.expires_at.timestamp())?;
            context.renew(renewed);
        }
        let roles = roles.into_iter().map(|row| (row.role, row.service_id)).collect();
        Ok(Self { admin_id: claims.sub, name: session.admin_name, session_id: claims.sid, roles })
    }
}

/// The token, from exactly one header.
fn presented(parts: &Parts) -> Option<&str> {
    let mut bearer = parts.headers.get_all("authorization").iter();
    let mut plain = parts.headers.get_all("y-access-token").iter();
    match (bearer.next(), bearer.next(), plain.next(), plain.next()) {
        (Some(value), None, None, None) => {
            let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token)
        }
        (None, None, Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
