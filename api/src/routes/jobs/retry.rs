//! `POST /v1/jobs/{id}/retry`: a new job that repeats one that failed or was cancelled.

use axum::response::Response;
use serde_json::json;
use shared::{db::saves, enqueue, id::JobId, job::Payload, schedule::Depth};

use super::{Job, WaitQuery, accepted, find, refused};
use crate::{audit::Change, call::Call, error::ApiError, extract::Path, rbac::Permission};

/// Repeats a job that failed or was cancelled.
///
/// The answer is a new job, which names the old one in `retry_of`.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/retry",
    params(WaitQuery),
    responses((status = 202, body = Job), (status = 409, description = "it has not ended, or has ended well")),
)]
pub async fn handle(call: Call<WaitQuery>, Path(id): Path<JobId>) -> Result<Response, ApiError> {
    let permission = Permission::JobRetry;
    let wait = call.query.wait(&call.state)?;
    let seen = find(&call, id, permission).await?;
    let mut tx = call.begin().await?;
    // What asks for more than its service's operator when it is new asks for it again.
    match seen.kind.as_str() {
        "delete" => call.authorize(Permission::SaveDelete, seen.service_id)?,
        "gc" => call.authorize(Permission::GcRun, None)?,
        _ => {}
    }
    // A restore may read a save of another service than the one it writes to.
    if let Some(save) = seen.reads_save_id
        && let Some(save) = saves::get(&mut tx, save).await?
    {
        let permission = match seen.kind.as_str() {
            "verify" => Permission::SaveVerify,
            "copy" => Permission::SaveCopy,
            _ => Permission::SaveRestore,
        };
        call.authorize(permission, Some(save.service_id))?;
        let is_drill = matches!(seen.decode(), Ok(Payload::Verify(verify)) if verify.depth == Depth::Restore);
        if !save.trusted && (is_drill || seen.kind == "restore") {
            call.authorize(Permission::SaveTrust, None)?;
        }
        if !save.valid && seen.kind == "restore" {
            call.authorize(Permission::SaveRestoreInvalid, Some(save.service_id))?;
        }
    }
    // What only an admin may ask for, only an admin may ask for again.
    let more = match seen.decode() {
        Ok(Payload::Restore(restore)) if restore.in_place => Some(Permission::SaveReplace),
        Ok(Payload::Undo(_)) => Some(Permission::JobUndo),
        Ok(Payload::Wipe(_) | Payload::Purge(_)) => Some(Permission::TargetWipe),
        _ => None,
    };
    if let Some(more) = more {
        call.authorize(more, seen.service_id)?;
    }
    let job = enqueue::retry(&mut tx, id, &call.asked(None)).await.map_err(refused)?;
    call.commit(tx, Change::new(permission, id, seen.service_id, json!({ "job_id": job }))).await?;
    accepted(&call.state, job, wait).await
}
