//! `POST /v1/data-sets/{id}/restore`: all of its saves in the places of their databases, as one.

use axum::{http::StatusCode, response::Response};
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::{
        data_set_restores::NewRestore,
        data_sets::{self, MemberRow},
    },
    enqueue,
    id::{DatasetId, GroupId},
    job::KEEP_OLD_S,
    name::Slug,
    save::SaveState,
};

use crate::{
    audit::Change,
    call::Call,
    error::{ApiError, FieldError},
    extract::{Json, Path},
    rbac::Permission,
    routes::{
        data_set_restores::{DataSetRestore, accepted, alone, whole},
        jobs::{WaitQuery, check_priority, refused},
        saves::restore::kept_for,
    },
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A restore of a data set.
#[schema(example = json!({ "confirm": "friday-demo", "keep_old_hours": 48 }))]
#[serde(deny_unknown_fields)]
pub struct RestoreDataSet {
    /// The data set's name, which says that every database of it is to be replaced. A dry run needs none.
    confirm: Option<Slug>,
    /// Only look whether each could be restored.
    #[serde(default)]
    dry_run: bool,
    /// Whether what is there is saved first; true unless said otherwise.
    safety: Option<bool>,
    /// Hours that what makes way is kept: for so long it can be undone.
    #[schema(minimum = 1, maximum = 2160, default = 24)]
    keep_old_hours: Option<u32>,
    /// Of its jobs: the higher the sooner. 8 unless said otherwise.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<i16>,
}

/// Restores a data set as one.
///
/// First it is looked whether each could be restored; then all are restored beside their databases; and only when all are whole
/// they change places with them, one after another. Where one cannot, those before it are swapped back. Then the queues that the
/// services' brokers name are purged. `?wait=30s` answers when it has come to its end or the time is up.
#[utoipa::path(
    post, path = "/v1/data-sets/{id}/restore",
    params(WaitQuery),
    request_body = RestoreDataSet,
    responses(
        (status = 202, body = DataSetRestore), (status = 409, description = "it is being restored, or is partly swapped"),
    ),
)]
pub async fn handle(
    call: Call<WaitQuery>,
    Path(id): Path<DatasetId>,
    Json(body): Json<RestoreDataSet>,
) -> Result<Response, ApiError> {
    let permission = Permission::DataSetRestore;
    call.authorize(permission, None)?;
    let wait = call.query.wait(&call.state)?;
    check_priority(body.priority)?;
    let keep_old_s = kept_for(body.keep_old_hours)?.unwrap_or(KEEP_OLD_S);
    if keep_old_s == 0 {
        return Err(ApiError::field("/keep_old_hours", "must be 1 or more: what makes way may have to come back"));
    }
    let mut tx = call.begin().await?;
    let set = data_sets::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("data_set"))?;
    if !body.dry_run && body.confirm.as_ref() != Some(&set.name) {
        let detail = format!("this replaces {} databases: say so by naming {:?} here", set.saves, set.name.as_str());
        return Err(ApiError::field("/confirm", detail));
    }
    let members = data_sets::members(&mut tx, id).await?;
    check(&members)?;
    let targets: Vec<_> = members.iter().map(|member| member.target_id).collect();
    alone(&mut tx, &targets, None).await?;
    let group_id = GroupId::generate();
    let asked = call.asked(body.priority.or(Some(enqueue::DATA_SET_PRIORITY)));
    let new = NewRestore {
        group_id,
        data_set_id: id,
        name: set.name,
        dry_run: body.dry_run,
        safety: body.safety.unwrap_or(true),
        keep_old_s: i32::try_from(keep_old_s).unwrap_or(i32::MAX),
        requested_by: asked.by,
        request_id: asked.request_id.clone(),
        trace_id: asked.trace_id.clone(),
    };
    enqueue::restore_data_set(&mut tx, &new, &asked).await.map_err(refused)?;
    if !body.dry_run {
        // What a worker will enqueue on the caller's behalf: each is staged and swapped.
        let later = i32::try_from(set.saves).unwrap_or(i32::MAX).saturating_mul(2);
        call.charge(&mut tx, later).await?;
    }
    let detail =
        json!({ "group_id": group_id, "dry_run": new.dry_run, "safety": new.safety, "keep_old_s": keep_old_s });
    let shown = whole(&mut tx, group_id).await?;
    let location = Some(format!("/v1/data-set-restores/{group_id}"));
    let response =
        call.answer(tx, Change::new(permission, id, None, detail), StatusCode::ACCEPTED, location, shown).await?;
    accepted(&call.state, group_id, wait, response).await
}

/// Refuses what would have to be forced: such a save is restored by itself, by who insists.
fn check(members: &[MemberRow]) -> Result<(), ApiError> {
    let wrong = members.iter().filter_map(|member| {
        let why = if member.state != SaveState::Available {
            "is not available any more"
        } else if !member.valid {
            "is not valid any more"
        } else if !member.trusted {
            "is not trusted"
        } else if !member.can_restore {
            "is of a target without a restore credential: give it one"
        } else {
            return None;
        };
        let MemberRow { service, target, version, .. } = member;
        Some(FieldError::new("", format!("save {version} of {service}/{target} {why}")))
    });
    let errors: Vec<_> = wrong.collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::Invalid { detail: "the data set cannot be restored as one".into(), errors })
}
