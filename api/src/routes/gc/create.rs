//! `POST /v1/gc`: what dead attempts left, and what no row knows. Unless told otherwise it only looks. A job.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::gc,
    enqueue::{self, GcRequest},
    name::Slug,
};

use crate::{
    audit::Change,
    call::Call,
    error::ApiError,
    extract::Json,
    rbac::Permission,
    routes::jobs::{Job, WaitQuery, accepted, refused},
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A collection that is wanted.
#[schema(example = json!({ "store": "main", "dry_run": true }))]
#[serde(deny_unknown_fields)]
pub struct CreateGc {
    /// One store; else all stores of the worker that runs the job.
    store: Option<Slug>,
    /// Whose workers; else a group with a living worker that has the store.
    worker_group: Option<Slug>,
    /// Only say what would be done.
    #[serde(default = "only_look")]
    #[schema(default = true)]
    dry_run: bool,
}

const fn only_look() -> bool {
    true
}

/// Collects what dead attempts left in the stores, and reports what no row knows.
///
/// Unless told otherwise it only looks. A job.
#[utoipa::path(
    post, path = "/v1/gc",
    params(WaitQuery),
    request_body = CreateGc,
    responses((status = 202, body = Job)),
)]
pub async fn handle(call: Call<WaitQuery>, Json(body): Json<CreateGc>) -> Result<Response, ApiError> {
    let permission = Permission::GcRun;
    call.authorize(permission, None)?;
    let wait = call.query.wait(&call.state)?;
    let mut tx = call.begin().await?;
    let worker_group = match body.worker_group {
        Some(group) => group.to_string(),
        // Where nobody lives the job waits for a worker of the default group.
        None => gc::group_with(&mut tx, body.store.as_ref()).await?.unwrap_or_else(|| "default".to_owned()),
    };
    let detail = json!({ "store": body.store, "worker_group": worker_group, "dry_run": body.dry_run });
    let wanted = GcRequest { store: body.store, worker_group, dry_run: body.dry_run };
    let job = enqueue::gc(&mut tx, wanted, &call.asked(None)).await.map_err(refused)?;
    call.commit(tx, Change::new(permission, job, None, detail)).await?;
    accepted(&call.state, job, wait).await
}
