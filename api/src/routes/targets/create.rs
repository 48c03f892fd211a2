//! `POST /v1/targets`.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::targets::{self, TargetRow},
    drift::Drift,
    id::{CredentialId, ServerId, ServiceId, TargetId},
    name::{DatabaseName, Slug},
    server::MongoMode,
    wipe::default_keep,
};

use super::{Target, check, refused};
use crate::{audit::Change, call::Call, error::ApiError, extract::Json, rbac::Permission};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A database that is to be backed up.
#[schema(example = json!({
    "service_id": "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50", "server_id": "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50", "name": "items",
    "database": "items", "backup_credential_id": "019a9f3e-5c1b-7d2a-9e4f-3b8c6d1a2f50", "stores": ["main"]
}))]
#[serde(deny_unknown_fields)]
pub struct CreateTarget {
    service_id: ServiceId,
    server_id: ServerId,
    /// Unique within the service.
    name: Slug,
    database: DatabaseName,
    /// A role that may read.
    backup_credential_id: CredentialId,
    /// A role that may write, for restores.
    restore_credential_id: Option<CredentialId>,
    /// Names of declared stores, each once.
    #[schema(min_items = 1, max_items = 8)]
    stores: Vec<String>,
    /// How many copies make a save available: 1 to the number of stores; 1 unless said otherwise.
    #[schema(minimum = 1, maximum = 8)]
    required_copies: Option<i32>,
    /// Whose workers can reach it; `default` unless said otherwise.
    worker_group: Option<Slug>,
    /// Seconds after which a job is given up.
    #[schema(minimum = 1, maximum = 604_800)]
    deadline_s: Option<i32>,
    /// Seconds without a byte after which an attempt is given up.
    #[schema(minimum = 1, maximum = 86_400)]
    stall_s: Option<i32>,
    /// What dumps and restores a MongoDB target; `native` unless said otherwise.
    mongo_mode: Option<MongoMode>,
    /// When a save of it is suspicious; as usual unless said otherwise.
    drift: Option<Drift>,
    /// What a wipe leaves alone: names of tables or collections, with `*` and `?`. The tables of the known tools for migrations
    /// unless said otherwise.
    #[schema(max_items = 100)]
    wipe_keep: Option<Vec<String>>,
}

/// Registers a target.
#[utoipa::path(
    post, path = "/v1/targets",
    request_body = CreateTarget,
    responses((status = 201, body = Target), (status = 409, description = "the service has a target of that name")),
)]
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
        drift: body.drift.map(sqlx::types::Json),
        wipe_keep: body.wipe_keep.unwrap_or_else(default_keep),
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
