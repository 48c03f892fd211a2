//! `POST /v1/jobs/{id}/retry`: a new job that repeats one that failed or was cancelled.

use axum::{Extension, extract::State, response::Response};
use shared::{enqueue, id::JobId};

use super::{WaitQuery, accepted, asked, find, refused};
use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::ApiError,
    extract::{Path, Query},
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<JobId>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, ApiError> {
    let wait = query.wait(&state)?;
    let permission = Permission::JobRetry;
    let seen = find(&state, &who, id, permission).await?;
    // A restore may read a save of another service than the one it writes to.
    let mut tx = state.pool.begin().await?;
    if let Some(save) = seen.reads_save_id
        && let Some(save) = shared::db::saves::get(&mut tx, save).await?
    {
        authorize(&who, Permission::SaveRestore, Some(save.service_id))?;
    }
    let job = enqueue::retry(&mut tx, id, &asked(&state, &who, &context, None)).await.map_err(refused)?;
    let detail = serde_json::json!({ "job_id": job });
    let service = seen.service_id;
    changed(
        &mut tx,
        &who,
        &context,
        Change { action: permission.name(), resource: "job", id: id.to_string(), service, detail },
    )
    .await?;
    tx.commit().await?;
    accepted(&state, job, wait).await
}
