//! `PATCH /v1/services/{id}`.

use axum::{Extension, Json as Answer, extract::State};
use serde::Deserialize;
use shared::{db::services, id::ServiceId, name::Slug};

use super::{Service, taken, text};
use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::{ApiError, OnConstraint},
    extract::{Json, Path},
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateService {
    name: Option<Slug>,
    description: Option<String>,
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<ServiceId>,
    Json(body): Json<UpdateService>,
) -> Result<Answer<Service>, ApiError> {
    authorize(&who, Permission::ServiceUpdate, Some(id))?;
    text("/description", body.description.as_deref().unwrap_or_default(), 500)?;
    let mut tx = state.pool.begin().await?;
    if services::get(&mut tx, id).await?.is_none() {
        return Err(ApiError::NotFound("service"));
    }
    services::update(&mut tx, id, body.name.as_ref(), body.description.as_deref())
        .await
        .on_constraint("services_name_key", taken)?;
    let row = services::get(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?;
    let detail = serde_json::json!({ "name": body.name, "description": body.description });
    let change = Change {
        action: Permission::ServiceUpdate.name(),
        resource: "service",
        id: id.to_string(),
        service: Some(id),
        detail,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok(Answer(row.into()))
}
