//! `POST /v1/jobs/{id}/undo`: swaps back the database that a restore in place, or an undo, put aside. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::{data_set_restores, kept},
    enqueue::{self, EnqueueError},
    id::JobId,
    job::{JobState, KEEP_OLD_S},
    name::DatabaseName,
};

use super::{Job, WaitQuery, accepted, check_priority, find, refused};
use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::saves::restore::kept_for,
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// An undo that is wanted.
#[schema(example = json!({ "confirm": "items", "keep_old_hours": 24 }))]
#[serde(deny_unknown_fields)]
pub struct CreateUndo {
    /// The name of the database that is replaced.
    confirm: DatabaseName,
    /// Hours that what makes way is kept.
    #[schema(minimum = 0, maximum = 2160, default = 24)]
    keep_old_hours: Option<u32>,
    /// The higher the sooner; 5 unless said otherwise.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<i16>,
}

/// Swaps back the database that a restore in place, or an undo, put aside.
///
/// A job: `?wait=30s` answers when it has ended or the time is up.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/undo",
    params(WaitQuery),
    request_body = CreateUndo,
    responses((status = 202, body = Job), (status = 409, description = "nothing is kept")),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<JobId>,
    Json(body): Json<CreateUndo>,
) -> Result<Response, ApiError> {
    let permission = Permission::JobUndo;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    let keep_old_s = kept_for(body.keep_old_hours)?.unwrap_or(KEEP_OLD_S);
    let seen = find(&call, id, permission).await?;
    if !matches!(seen.kind.as_str(), "restore" | "undo") || seen.state != JobState::Succeeded {
        let what = format!("the job is a {} that {}", seen.kind, seen.state.as_str());
        return Err(ApiError::Conflict(format!("{what}: a restore in place that succeeded can be undone")));
    }
    let mut tx = call.begin().await?;
    if let Some(group) = seen.group_id
        && data_set_restores::get(&mut tx, group).await?.is_some()
    {
        return Err(refused(EnqueueError::OfDataSet { job: id, group }));
    }
    let kept = kept::of_job(&mut tx, id).await?.ok_or_else(|| {
        ApiError::Conflict("the job put no database aside: restore the safety save that it made, or another one".into())
    })?;
    if !kept.is_kept {
        return Err(ApiError::Conflict("what the job put aside was swapped back or dropped already".into()));
    }
    if body.confirm != kept.database {
        return Err(ApiError::field("/confirm", format!("must be the database's name, {:?}", kept.database.as_str())));
    }
    let job = enqueue::undo(&mut tx, &kept, keep_old_s, None, &call.asked(body.priority)).await.map_err(refused)?;
    let detail = json!({ "job_id": job, "target_id": kept.target_id, "database": kept.database });
    call.commit(tx, Change::new(permission, id, seen.service_id, detail)).await?;
    accepted(&call.state, job, wait).await
}
