//! `POST /v1/targets`.

use axum::{
    Extension, Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use shared::{
    db::targets::{self, TargetRow},
    id::{CredentialId, ServerId, ServiceId, TargetId},
    name::{DatabaseName, Slug},
};

use super::{Target, check, refused};
use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::ApiError,
    extract::Json,
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

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
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Json(body): Json<CreateTarget>,
) -> Result<impl IntoResponse, ApiError> {
    authorize(&who, Permission::TargetPlace, None)?;
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
        last_version: 0,
        created_at: now,
        updated_at: now,
    };
    check(&state, &row)?;
    let mut tx = state.pool.begin().await?;
    targets::insert(&mut tx, &row).await.map_err(refused)?;
    let id = row.id;
    let row = targets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    let detail = serde_json::json!({ "name": row.name, "server_id": row.server_id, "database": row.database });
    let service = Some(row.service_id);
    changed(
        &mut tx,
        &who,
        &context,
        Change { action: "target.create", resource: "target", id: id.to_string(), service, detail },
    )
    .await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/targets/{id}"))], Answer(Target::from(row))))
}
