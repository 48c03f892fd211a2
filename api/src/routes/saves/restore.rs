//! `POST /v1/saves/{id}/restore`: into a new database. A job.

use axum::{Extension, extract::State, response::Response};
use serde::Deserialize;
use shared::{
    db::{saves, targets},
    enqueue::{self, RestoreRequest},
    id::{SaveId, TargetId},
    job::{OwnerPolicy, PrivilegePolicy},
    name::DatabaseName,
};

use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::ApiError,
    extract::{Json, Path, Query},
    gate::Context,
    rbac::{Permission, authorize},
    routes::jobs::{WaitQuery, accepted, asked, refused},
    state::AppState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRestore {
    into: Into,
    #[serde(default)]
    owner: OwnerPolicy,
    #[serde(default)]
    privileges: PrivilegePolicy,
    priority: Option<i16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Into {
    /// Whose server and restore credential; absent: those of the save's own target.
    target_id: Option<TargetId>,
    /// The database to create. Absent would mean in place.
    database: Option<DatabaseName>,
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<SaveId>,
    Query(query): Query<WaitQuery>,
    Json(body): Json<CreateRestore>,
) -> Result<Response, ApiError> {
    let wait = query.wait(&state)?;
    if body.priority.is_some_and(|p| !(0..=9).contains(&p)) {
        return Err(ApiError::field("/priority", "must be 0 to 9"));
    }
    let permission = Permission::SaveRestore;
    let mut tx = state.pool.begin().await?;
    let save = saves::get(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    authorize(&who, permission, Some(save.service_id))?;
    let target_id = body.into.target_id.unwrap_or(save.target_id);
    let target =
        targets::get(&mut tx, target_id).await?.ok_or_else(|| ApiError::field("/into/target_id", "is no target"))?;
    if authorize(&who, permission, Some(target.service_id)).is_err() {
        return Err(ApiError::field("/into/target_id", "is no target that you may restore with"));
    }
    let in_place = "restoring in place is not possible in this version: name a database that does not exist yet";
    let database = body.into.database.ok_or_else(|| ApiError::field("/into/database", in_place))?;
    if database == target.database {
        return Err(ApiError::field("/into/database", in_place));
    }
    if target.restore_credential_id.is_none() {
        return Err(ApiError::field("/into/target_id", "is a target without a restore credential: give it one first"));
    }
    let wanted = RestoreRequest {
        save_id: id,
        target_id: Some(target_id),
        database: database.clone(),
        owner: body.owner,
        privileges: body.privileges,
    };
    let job =
        enqueue::restore(&mut tx, wanted, &asked(&state, &who, &context, body.priority)).await.map_err(refused)?;
    let detail = serde_json::json!({ "job_id": job, "target_id": target_id, "database": database });
    let service = Some(save.service_id);
    changed(
        &mut tx,
        &who,
        &context,
        Change { action: permission.name(), resource: "save", id: id.to_string(), service, detail },
    )
    .await?;
    tx.commit().await?;
    accepted(&state, job, wait).await
}
