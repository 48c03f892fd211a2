//! Who calls: the access token, the session behind it, the roles; or a program's API token. Checked on each request, so that a
//! logout, a disabled admin or a changed role acts at once; of reads by people once a second ([`known`]).

pub mod admin_id;
pub mod api_token;
pub mod known;
pub mod opaque;
pub mod password;
pub mod refresh;
pub mod token;

use std::{sync::Arc, time::Instant};

use api_token::TokenRef;
use axum::{
    extract::FromRequestParts,
    http::{Method, request::Parts},
};
use chrono::Utc;
use shared::{
    admin::Role,
    db::sessions::{self, LiveSession},
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
    /// Jobs a day, where the admin has a number of their own.
    pub jobs_per_day: Option<i32>,
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
            person(state, &context, text, &parts.method).await
        }
    }
}

/// The admin of an access token. In prod the call is answered with a new one.
async fn person(state: &AppState, context: &Context, text: &str, method: &Method) -> Result<Identity, ApiError> {
    let time = Utc::now();
    let now = time.timestamp();
    let claims = state.tokens.verify(text, now).map_err(|_| ApiError::Unauthorized)?;
    let known = method.is_safe().then(|| state.known.get(claims.sid, Instant::now(), time)).flatten();
    let session = match known {
        Some(session) => session,
        None => look_up(state, claims.sid).await?,
    };
    if session.admin_id != claims.sub || session.token_version != claims.ver {
        return Err(ApiError::Unauthorized);
    }
    context.identified(claims.sub, &session.admin_name);
    if state.tokens.renews() {
        let subject = token::Subject { admin: claims.sub, session: claims.sid, version: claims.ver };
        let (renewed, _) = state.tokens.issue(subject, now, session.expires_at.timestamp())?;
        context.renew(renewed);
    }
    let roles = session.roles.iter().map(|row| (row.role, row.service_id)).collect();
    Ok(Identity {
        admin_id: claims.sub,
        name: session.admin_name.clone(),
        means: Means::Session(claims.sid),
        roles,
        jobs_per_day: session.jobs_per_day,
    })
}

/// The session as it is now.
async fn look_up(state: &AppState, id: SessionId) -> Result<Arc<LiveSession>, ApiError> {
    let asked = Instant::now();
    let mut conn = state.pool.acquire().await?;
    let session = Arc::new(sessions::live(&mut conn, id).await?.ok_or(ApiError::Unauthorized)?);
    state.known.put(id, session.clone(), asked);
    Ok(session)
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
