//! `POST /v1/saves/{id}/restore`: into a new database. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::{saves, targets},
    enqueue::{self, RestoreRequest},
    id::{SaveId, TargetId},
    job::{OwnerPolicy, PrivilegePolicy},
    name::DatabaseName,
};

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::jobs::{WaitQuery, accepted, refused},
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
    call: Call<WaitQuery>,
    Path(id): Path<SaveId>,
    Json(body): Json<CreateRestore>,
) -> Result<Response, ApiError> {
    let permission = Permission::SaveRestore;
    let wait = call.query.wait(&call.state)?;
    if body.priority.is_some_and(|p| !(0..=9).contains(&p)) {
        return Err(ApiError::field("/priority", "must be 0 to 9"));
    }
    let mut tx = call.begin().await?;
    let save = saves::get(&mut tx, id).await?.ok_or(ApiError::NotFound("save"))?;
    call.authorize(permission, Some(save.service_id))?;
    let target_id = body.into.target_id.unwrap_or(save.target_id);
    // One answer for both, so that nobody learns which ids exist.
    let no_target = || ApiError::field("/into/target_id", "is no target that you may restore with");
    let target = targets::get(&mut tx, target_id).await?.ok_or_else(no_target)?;
    call.authorize(permission, Some(target.service_id)).map_err(|_| no_target())?;
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
    let job = enqueue::restore(&mut tx, wanted, &call.asked(body.priority)).await.map_err(refused)?;
    let detail = json!({ "job_id": job, "target_id": target_id, "database": database });
    call.commit(tx, Change::new(permission, id, Some(save.service_id), detail)).await?;
    accepted(&call.state, job, wait).await
}
