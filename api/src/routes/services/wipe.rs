//! `POST /v1/services/{id}/wipe`: every target of the service is emptied. A group of jobs, asked for in one transaction.

use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    db::{services, targets},
    enqueue,
    id::{GroupId, JobId, SaveId, ServiceId, TargetId},
    name::Slug,
};

use super::hidden;
use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::{
        groups,
        jobs::{WaitQuery, check_priority, refused},
        targets::wipe::How,
    },
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A service whose databases are to be emptied.
#[schema(example = json!({ "confirm": "items" }))]
#[serde(deny_unknown_fields)]
pub struct WipeService {
    /// The service's name, which says that it is meant. A dry run needs none.
    confirm: Option<Slug>,
    /// Only say what would be emptied and what is kept; nothing is written anywhere.
    #[serde(default)]
    dry_run: bool,
    /// Whether what is there is saved first, and the save read back; true unless said otherwise. Without it there is no way back.
    safety_save: Option<bool>,
    /// Names of tables or collections, with `*` and `?`, that are left alone beside each target's own `wipe_keep`.
    #[serde(default)]
    #[schema(max_items = 100)]
    keep: Vec<String>,
    /// Seconds that locks of others are waited for; 30 unless said otherwise.
    #[schema(minimum = 1, maximum = 600)]
    lock_timeout_s: Option<u32>,
    /// The higher the sooner; 5 unless said otherwise.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<i16>,
}

/// What was asked for. The group is followed at `/v1/groups/{group_id}`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WipesAsked)]
pub struct Asked {
    pub group_id: GroupId,
    pub jobs: Vec<Queued>,
    /// The job that purges the queues of the service's broker once all of these have succeeded; null: it names none.
    pub purge_job_id: Option<JobId>,
}

/// A target that will be emptied.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = WipeQueued)]
pub struct Queued {
    pub target_id: TargetId,
    pub target: Slug,
    pub job_id: JobId,
    /// The safety save that is made first; null: none.
    pub save_id: Option<SaveId>,
}

/// Empties every database of a service.
///
/// A group of jobs, asked for together, one for each target: each is emptied or not by itself. Where all of them are, the queues that
/// the service's broker names are purged. `?wait=30s` answers when all have
/// ended or the time is up.
#[utoipa::path(
    post, path = "/v1/services/{id}/wipe",
    params(WaitQuery),
    request_body = WipeService,
    responses((status = 202, body = Asked), (status = 409, description = "the service has no target")),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<ServiceId>,
    Json(body): Json<WipeService>,
) -> Result<Response, ApiError> {
    let permission = Permission::TargetWipe;
    call.authorize(permission, Some(id)).map_err(hidden)?;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    let how = How::checked(body.dry_run, body.safety_save, &body.keep, body.lock_timeout_s)?;
    let mut tx = call.begin().await?;
    let service = services::get(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?;
    if !how.dry_run && body.confirm.as_ref() != Some(&service.name) {
        let detail =
            format!("this empties every database of service {:?}: say so by naming it here", service.name.as_str());
        return Err(ApiError::field("/confirm", detail));
    }
    let (group, asked) = (GroupId::generate(), call.asked(body.priority));
    let mut queued = Vec::new();
    let (rows, _) = targets::list(&mut tx, Some(&[id]), None, i64::MAX, 0).await?;
    for row in rows {
        let wanted = how.request(&row, Some(group));
        let (job_id, save_id) = enqueue::wipe(&mut tx, wanted, &asked).await.map_err(refused)?;
        queued.push(Queued { target_id: row.id, target: row.name, job_id, save_id });
    }
    if queued.is_empty() {
        return Err(ApiError::Conflict("the service has no target".into()));
    }
    let after = queued.last().map(|last| last.job_id);
    let purge = enqueue::purge(&mut tx, id, Some(group), after, how.dry_run, &asked).await.map_err(refused)?;
    let detail = json!({
        "purge_job_id": purge, "group_id": group, "jobs": queued.iter().map(|one| one.job_id).collect::<Vec<_>>(), "dry_run": how.dry_run,
        "safety_save": how.safety,
    });
    let change = Change { resource: "service", ..Change::new(permission, id, Some(id), detail) };
    let answer = Asked { group_id: group, jobs: queued, purge_job_id: purge };
    groups::answer(&call, tx, change, group, answer, wait).await
}
