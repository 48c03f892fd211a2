//! `POST /v1/targets/{id}/probe`: can it be reached, how large is it, what can the role not read? A job.

use axum::{Extension, extract::State, response::Response};
use shared::{db::targets, enqueue, id::TargetId};

use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::ApiError,
    extract::{Path, Query},
    gate::Context,
    rbac::{Permission, authorize},
    routes::jobs::{WaitQuery, accepted, asked, refused},
    state::AppState,
};

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<TargetId>,
    Query(query): Query<WaitQuery>,
) -> Result<Response, ApiError> {
    let wait = query.wait(&state)?;
    let mut tx = state.pool.begin().await?;
    let target = targets::get(&mut tx, id).await?.ok_or(ApiError::NotFound("target"))?;
    let permission = Permission::TargetProbe;
    authorize(&who, permission, Some(target.service_id))?;
    let job = enqueue::probe(&mut tx, id, &asked(&state, &who, &context, None)).await.map_err(refused)?;
    let detail = serde_json::json!({ "job_id": job });
    let service = Some(target.service_id);
    changed(
        &mut tx,
        &who,
        &context,
        Change { action: permission.name(), resource: "target", id: id.to_string(), service, detail },
    )
    .await?;
    tx.commit().await?;
    accepted(&state, job, wait).await
}
