//! `PATCH /v1/targets/{id}`. Another server, database or credential asks for the role globally, like creating does.

use axum::response::Response;
use serde::Deserialize;
use shared::{
    db::targets,
    drift::Drift,
    id::{CredentialId, ServerId, TargetId},
    name::{DatabaseName, Slug},
    server::MongoMode,
};

use super::{Target, check, refused};
use crate::{
    audit::{Change, difference},
    call::Call,
    error::ApiError,
    etag,
    extract::{Json, Path},
    merge::Merge,
    rbac::Permission,
};

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
/// What is to change of a target. `null` clears `restore_credential_id`, `deadline_s`, `stall_s` and `drift`.
#[schema(example = json!({ "deadline_s": 3600, "stall_s": null }))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateTarget {
    server_id: Merge<ServerId>,
    name: Merge<Slug>,
    database: Merge<DatabaseName>,
    backup_credential_id: Merge<CredentialId>,
    restore_credential_id: Merge<Option<CredentialId>>,
    /// 1 to 8 names of declared stores.
    stores: Merge<Vec<String>>,
    /// 1 to the number of stores.
    required_copies: Merge<i32>,
    worker_group: Merge<Slug>,
    /// 1 to 604800.
    deadline_s: Merge<Option<i32>>,
    /// 1 to 86400.
    stall_s: Merge<Option<i32>>,
    mongo_mode: Merge<MongoMode>,
    /// The whole of it; null: as usual.
    drift: Merge<Option<Drift>>,
    /// At most 100 names of tables or collections, with `*` and `?`: what a wipe leaves alone.
    wipe_keep: Merge<Vec<String>>,
}

impl UpdateTarget {
    fn moves(&self) -> bool {
        self.server_id.is_set()
            || self.database.is_set()
            || self.backup_credential_id.is_set()
            || self.restore_credential_id.is_set()
            || self.worker_group.is_set()
    }
}

/// Changes a target.
///
/// Another server, database, credential or worker group asks for the role globally, like creating does.
#[utoipa::path(
    patch, path = "/v1/targets/{id}",
    request_body = UpdateTarget,
    responses((status = 200, body = Target), (status = 409, description = "the service has a target of that name")),
)]
pub async fn handle(
    call: Call,
    Path(id): Path<TargetId>,
    Json(body): Json<UpdateTarget>,
) -> Result<Response, ApiError> {
    let mut tx = call.begin().await?;
    let mut row = targets::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    call.authorize(Permission::TargetUpdate, Some(row.service_id))?;
    if body.moves() {
        call.authorize(Permission::TargetPlace, None)?;
    }
    let before = Target::from(row.clone());
    call.check_match(&before)?;
    body.server_id.apply(&mut row.server_id);
    body.name.apply(&mut row.name);
    body.database.apply(&mut row.database);
    body.backup_credential_id.apply(&mut row.backup_credential_id);
    body.restore_credential_id.apply(&mut row.restore_credential_id);
    body.stores.apply(&mut row.stores);
    body.required_copies.apply(&mut row.required_copies);
    body.worker_group.apply(&mut row.worker_group);
    body.deadline_s.apply(&mut row.deadline_s);
    body.stall_s.apply(&mut row.stall_s);
    body.mongo_mode.apply(&mut row.mongo_mode);
    if let Some(drift) = body.drift.new_value() {
        row.drift = drift.clone().map(sqlx::types::Json);
    }
    body.wipe_keep.apply(&mut row.wipe_keep);
    check(&call.state, &row)?;
    targets::update(&mut tx, &row).await.map_err(refused)?;
    let after = Target::from(targets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?);
    let detail = difference(&before, &after);
    call.commit(tx, Change::new(Permission::TargetUpdate, id, Some(after.service_id), detail)).await?;
    etag::changed(&after)
}
