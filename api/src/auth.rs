//! Who calls: the access token, the session behind it, the roles; or a program's API token. Checked on each request, so that a
//! logout, a disabled admin or a changed role acts at once.

pub mod admin_id;
pub mod api_token;
pub mod opaque;
pub mod password;
pub mod refresh;
pub mod token;

use api_token::TokenRef;
use axum::{extract::FromRequestParts, http::request::Parts};
use shared::{
    admin::Role,
    db::{admins, sessions},
    id::{AdminId, ServiceId, SessionId},
};

use crate::{error::ApiError, gate::Context, state::AppState};

/// By what a caller is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// A person who has logged in.
    Session(SessionId),
    /// A program, for the admin who owns its token.
    ApiToken(TokenRef),
}

/// An authenticated admin.
#[derive(Debug, Clone)]
pub struct Identity {
    pub admin_id: AdminId,
    pub name: String,
    pub means: Means,
    /// Role and service; no service: global. Of an API token what its scope leaves of the owner's.
    pub roles: Vec<(Role, Option<ServiceId>)>,
}

impl Identity {
    /// The API token, where a program calls.
    #[must_use]
    pub fn api_token(&self) -> Option<&TokenRef> {
        match &self.means {
            Means::Session(_) => None,
            Means::ApiToken(token) => Some(token),
        }
    }
}

impl FromRequestParts<AppState> for Identity {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let text = presented(parts).ok_or(ApiError::Unauthorized)?;
        let context = Context::of(parts)?;
        if text.starts_with(opaque::Kind::Api.prefix()) {
            api_token::identify(state, &context, text).await
        } else {
            person(state, &context, text).await
        }
    }
}

/// The admin of an access token. In prod the call is answered with a new one.
async fn person(state: &AppState, context: &Context, text: &str) -> Result<Identity, ApiError> {
    let now = chrono::Utc::now().timestamp();
    let claims = state.tokens.verify(text, now).map_err(|_| ApiError::Unauthorized)?;
    let mut conn = state.pool.acquire().await?;
    let session = sessions::live(&mut conn, claims.sid).await?.ok_or(ApiError::Unauthorized)?;
    if session.admin_id != claims.sub || session.token_version != claims.ver {
        return Err(ApiError::Unauthorized);
    }
    let roles = admins::roles(&mut conn, claims.sub).await?;
    drop(conn);
    context.identified(claims.sub, &session.admin_name);
    if state.tokens.renews() {
        let subject = token::Subject { admin: claims.sub, session: claims.sid, version: claims.ver };
        let (renewed, _) = state.tokens.issue(subject, now, session.expires_at.timestamp())?;
        context.renew(renewed);
    }
    let roles = roles.into_iter().map(|row| (row.role, row.service_id)).collect();
    Ok(Identity { admin_id: claims.sub, name: session.admin_name, means: Means::Session(claims.sid), roles })
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
