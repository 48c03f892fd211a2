//! `GET /v1/auth/me`: who the token is for, and what they may do.

use axum::Json;
use serde::Serialize;
use shared::{
    admin::Role,
    id::{AdminId, ServiceId, SessionId},
};

use crate::{
    auth::{Means, api_token::TokenRef},
    call::Call,
};

/// Whoever the token is for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Me {
    id: AdminId,
    #[schema(example = "root")]
    name: String,
    /// Null where a program calls.
    session_id: Option<SessionId>,
    /// Null where a person calls.
    api_token: Option<TokenRef>,
    /// Of an API token what its scope leaves of its owner's.
    roles: Vec<OwnRole>,
}

/// A role, globally or for one service.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct OwnRole {
    role: Role,
    /// Null: global.
    service_id: Option<ServiceId>,
}

/// Tells who the token is for, and what they may do.
#[utoipa::path(get, path = "/v1/auth/me", responses((status = 200, body = Me)))]
pub async fn handle(call: Call) -> Json<Me> {
    let who = call.who;
    let roles = who.roles.into_iter().map(|(role, service_id)| OwnRole { role, service_id }).collect();
    let (session_id, api_token) = match who.means {
        Means::Session(id) => (Some(id), None),
        Means::ApiToken(token) => (None, Some(token)),
    };
    Json(Me { id: who.admin_id, name: who.name, session_id, api_token, roles })
}
