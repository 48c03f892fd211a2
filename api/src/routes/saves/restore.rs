//! `POST /v1/saves/{id}/restore`: into a new database, or a part of the save into one that exists. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::{saves, targets},
    enqueue::{self, Place, RestoreRequest},
    id::{SaveId, TargetId},
    job::{ExtensionPolicy, OwnerPolicy, Part, PrivilegePolicy, TableName},
    name::DatabaseName,
    save::Mode,
};

use super::part;
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
    /// The name of the database that exists and is changed.
    confirm: Option<DatabaseName>,
    /// Only these tables; empty: everything.
    #[serde(default)]
    tables: Vec<TableName>,
    /// Absent: all that the save has.
    mode: Option<Mode>,
    #[serde(default)]
    extensions: ExtensionPolicy,
    priority: Option<i16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Into {
    /// Whose server and restore credential; absent: those of the save's own target.
    target_id: Option<TargetId>,
    /// The database to create, or with `confirm` the one to change. Absent: the target's own.
    database: Option<DatabaseName>,
}

impl CreateRestore {
    /// Where it goes; into what exists only when that is confirmed.
    fn place(&self, own: &DatabaseName, part: &Part) -> Result<Place, ApiError> {
        let database = self.into.database.as_ref().unwrap_or(own);
        let exists = self.confirm.is_some() || database == own;
        if !exists {
            if part.mode == Mode::Data {
                return Err(ApiError::field("/mode", "rows alone need a database that has the tables: confirm it"));
            }
            return Ok(Place::New(database.clone()));
        }
        if part.tables.is_empty() && part.mode != Mode::Data {
            let pointer = if self.confirm.is_some() { "/confirm" } else { "/into/database" };
            let detail = "restoring a whole save in place is not possible in this version: name a database that does not exist yet, or tables";
            return Err(ApiError::field(pointer, detail));
        }
        if self.confirm.as_ref() != Some(database) {
            let detail = format!("this changes database {:?}: say so by naming it here", database.as_str());
            return Err(ApiError::field("/confirm", detail));
        }
        Ok(Place::Existing(database.clone()))
    }
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
    let part = Part { tables: body.tables.clone(), extensions: body.extensions, ..Part::default() };
    let part = part::checked(part, body.mode, save.mode)?;
    let into = body.place(&target.database, &part)?;
    if target.restore_credential_id.is_none() {
        return Err(ApiError::field("/into/target_id", "is a target without a restore credential: give it one first"));
    }
    let wanted = RestoreRequest {
        save_id: id,
        target_id: Some(target_id),
        into,
        owner: body.owner,
        privileges: body.privileges,
        part,
    };
    let database = body.into.database.unwrap_or(target.database);
    let job = enqueue::restore(&mut tx, wanted, &call.asked(body.priority)).await.map_err(refused)?;
    let detail = json!({ "job_id": job, "target_id": target_id, "database": database });
    call.commit(tx, Change::new(permission, id, Some(save.service_id), detail)).await?;
    accepted(&call.state, job, wait).await
}
