//! `POST /v1/targets`.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::targets::{self, TargetRow},
    id::{CredentialId, ServerId, ServiceId, TargetId},
    name::{DatabaseName, Slug},
    server::MongoMode,
};

use super::{Target, check, refused};
use crate::{audit::Change, call::Call, error::ApiError, extract::Json, rbac::Permission};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTarget {
    service_id: ServiceId,
    server_id: ServerId,
    name: Slug,
    database: DatabaseName,
    backup_credential_id: CredentialId,
    restore_credential_id: Option<CredentialId>,
    stores: Vec<String>,
    required_copies: Option<i32>,
    worker_group: Option<Slug>,
    deadline_s: Option<i32>,
    stall_s: Option<i32>,
    mongo_mode: Option<MongoMode>,
}

pub async fn handle(call: Call, Json(body): Json<CreateTarget>) -> Result<Response, ApiError> {
    let permission = Permission::TargetCreate;
    call.authorize(permission, None)?;
    let now = chrono::Utc::now();
    let group = || Slug::parse("default").map_err(|error| ApiError::field("/worker_group", error.to_string()));
    let row = TargetRow {
        id: TargetId::generate(),
        service_id: body.service_id,
        server_id: body.server_id,
        name: body.name,
        database: body.database,
        backup_credential_id: body.backup_credential_id,
        restore_credential_id: body.restore_credential_id,
        stores: body.stores,
        required_copies: body.required_copies.unwrap_or(1),
        worker_group: body.worker_group.map_or_else(group, Ok)?,
        deadline_s: body.deadline_s,
        stall_s: body.stall_s,
        mongo_mode: body.mongo_mode.unwrap_or_default(),
        last_version: 0,
        created_at: now,
        updated_at: now,
    };
    check(&call.state, &row)?;
    let mut tx = call.begin().await?;
    targets::insert(&mut tx, &row).await.map_err(refused)?;
    let id = row.id;
    let row = targets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    let detail = json!({ "name": row.name, "server_id": row.server_id, "database": row.database });
    call.create(tx, Change::new(permission, id, Some(row.service_id), detail), "/v1/targets", id, Target::from(row))
        .await
}
