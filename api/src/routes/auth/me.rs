//! `GET /v1/auth/me`: who the token is for, and what they may do.

use axum::Json;
use serde::Serialize;
use shared::{
    admin::Role,
    id::{AdminId, ServiceId, SessionId},
};

use crate::call::Call;

#[derive(Debug, Serialize)]
pub struct Me {
    id: AdminId,
    name: String,
    session_id: SessionId,
    roles: Vec<Granted>,
}

#[derive(Debug, Serialize)]
struct Granted {
    role: Role,
    /// Null: global.
    service_id: Option<ServiceId>,
}

pub async fn handle(call: Call) -> Json<Me> {
    let who = call.who;
    let roles = who.roles.into_iter().map(|(role, service_id)| Granted { role, service_id }).collect();
    Json(Me { id: who.admin_id, name: who.name, session_id: who.session_id, roles })
}
