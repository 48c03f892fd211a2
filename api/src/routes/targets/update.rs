//! `PATCH /v1/targets/{id}`. Another server, database or credential asks for the role globally, like creating does.

use axum::{Extension, Json as Answer, extract::State};
use serde::Deserialize;
use shared::{
    db::targets,
    id::{CredentialId, ServerId, TargetId},
    name::{DatabaseName, Slug},
};

use super::{Target, check, refused};
use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::ApiError,
    extract::{Json, Path},
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateTarget {
    server_id: Option<ServerId>,
    name: Option<Slug>,
    database: Option<DatabaseName>,
    backup_credential_id: Option<CredentialId>,
    restore_credential_id: Option<CredentialId>,
    stores: Option<Vec<String>>,
    required_copies: Option<i32>,
    worker_group: Option<Slug>,
    deadline_s: Option<i32>,
    stall_s: Option<i32>,
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<TargetId>,
    Json(body): Json<UpdateTarget>,
) -> Result<Answer<Target>, ApiError> {
    let mut tx = state.pool.begin().await?;
    let mut row = targets::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    authorize(&who, Permission::TargetUpdate, Some(row.service_id))?;
    let moved = body.server_id.is_some()
        || body.database.is_some()
        || body.backup_credential_id.is_some()
        || body.restore_credential_id.is_some()
        || body.worker_group.is_some();
    if moved {
        authorize(&who, Permission::TargetPlace, None)?;
    }
    row.server_id = body.server_id.unwrap_or(row.server_id);
    row.name = body.name.unwrap_or(row.name);
    row.database = body.database.unwrap_or(row.database);
    row.backup_credential_id = body.backup_credential_id.unwrap_or(row.backup_credential_id);
    row.restore_credential_id = body.restore_credential_id.or(row.restore_credential_id);
    row.stores = body.stores.unwrap_or(row.stores);
    row.required_copies = body.required_copies.unwrap_or(row.required_copies);
    row.worker_group = body.worker_group.unwrap_or(row.worker_group);
    row.deadline_s = body.deadline_s.or(row.deadline_s);
    row.stall_s = body.stall_s.or(row.stall_s);
    check(&state, &row)?;
    targets::update(&mut tx, &row).await.map_err(refused)?;
    let row = targets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    let detail = serde_json::json!({ "name": row.name, "server_id": row.server_id, "database": row.database, "stores": row.stores });
    let action = Permission::TargetUpdate.name();
    let service = Some(row.service_id);
    changed(&mut tx, &who, &context, Change { action, resource: "target", id: id.to_string(), service, detail })
        .await?;
    tx.commit().await?;
    Ok(Answer(row.into()))
}
