//! `POST /v1/targets/{id}/wipe`: its rows go, its structure stays. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::targets::{self, TargetRow},
    enqueue::{self, WipeRequest},
    id::{GroupId, TargetId},
    job::WIPE_LOCK_TIMEOUT_S,
    name::DatabaseName,
    wipe::{KeepPattern, MAX_PATTERNS},
};

use super::patterns;
use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::{Json, Path},
    rbac::Permission,
    routes::jobs::{Job, WaitQuery, accepted, check_priority, refused},
};

/// What a lock may be waited for at most, in seconds.
const MAX_LOCK_TIMEOUT_S: u32 = 600;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A database that is to be emptied.
#[schema(example = json!({ "confirm": "items", "keep": ["currencies"] }))]
#[serde(deny_unknown_fields)]
pub struct WipeTarget {
    /// The database's name, which says that it is meant. A dry run needs none.
    confirm: Option<DatabaseName>,
    /// Only say what would be emptied and what is kept; nothing is written anywhere.
    #[serde(default)]
    dry_run: bool,
    /// Whether what is there is saved first, and the save read back; true unless said otherwise. Without it there is no way back.
    safety_save: Option<bool>,
    /// Names of tables or collections, with `*` and `?`, that are left alone beside the target's own `wipe_keep`.
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

/// How databases are emptied, as it was asked for and found to be fit.
#[derive(Debug, Clone)]
pub struct How {
    keep: Vec<KeepPattern>,
    pub dry_run: bool,
    pub safety: bool,
    lock_timeout_s: u32,
}

impl How {
    /// Refuses what is out of bounds.
    pub fn checked(
        dry_run: bool,
        safety_save: Option<bool>,
        keep: &[String],
        lock_timeout_s: Option<u32>,
    ) -> Result<Self, ApiError> {
        let lock_timeout_s = lock_timeout_s.unwrap_or(WIPE_LOCK_TIMEOUT_S);
        if !(1..=MAX_LOCK_TIMEOUT_S).contains(&lock_timeout_s) {
            return Err(ApiError::field("/lock_timeout_s", format!("must be 1 to {MAX_LOCK_TIMEOUT_S}")));
        }
        let keep = patterns("/keep", keep)?;
        Ok(Self { keep, dry_run, safety: safety_save.unwrap_or(true), lock_timeout_s })
    }

    /// The wipe of one target, as its row is now.
    pub fn request(&self, target: &TargetRow, group: Option<GroupId>) -> WipeRequest {
        // What the row holds was checked when it was written.
        let own = target.wipe_keep.iter().take(MAX_PATTERNS).filter_map(|text| KeepPattern::parse(text.as_str()).ok());
        WipeRequest {
            target_id: target.id,
            server_id: target.server_id,
            database: target.database.clone(),
            keep: own.chain(self.keep.iter().cloned()).collect(),
            dry_run: self.dry_run,
            safety: self.safety,
            lock_timeout_s: self.lock_timeout_s,
            group,
        }
    }
}

/// Empties a target's database.
///
/// All rows of all tables but those that are kept, or all documents; the structure stays. A job. First a safety save is made and read
/// back: to restore it undoes the wipe. With `dry_run` only a look at what would be done.
#[utoipa::path(
    post, path = "/v1/targets/{id}/wipe",
    params(WaitQuery),
    request_body = WipeTarget,
    responses((status = 202, body = Job)),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<TargetId>,
    Json(body): Json<WipeTarget>,
) -> Result<Response, ApiError> {
    let permission = Permission::TargetWipe;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    let how = How::checked(body.dry_run, body.safety_save, &body.keep, body.lock_timeout_s)?;
    let mut tx = call.begin().await?;
    let target = targets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    call.authorize(permission, Some(target.service_id))?;
    if !how.dry_run && body.confirm.as_ref() != Some(&target.database) {
        let detail = format!("this empties database {:?}: say so by naming it here", target.database.as_str());
        return Err(ApiError::field("/confirm", detail));
    }
    let wanted = how.request(&target, None);
    let (job, save) = enqueue::wipe(&mut tx, wanted, &call.asked(body.priority)).await.map_err(refused)?;
    let detail = json!({
        "job_id": job, "save_id": save, "database": target.database, "dry_run": how.dry_run, "safety_save": how.safety,
    });
    call.commit(tx, Change::new(permission, id, Some(target.service_id), detail)).await?;
    accepted(&call.state, job, wait).await
}
