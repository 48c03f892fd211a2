//! `POST /v1/services`.

use axum::{
    Extension, Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Deserialize;
use shared::{db::services, id::ServiceId, name::Slug};

use super::{Service, taken, text};
use crate::{
    audit::{Change, changed},
    auth::Identity,
    error::{ApiError, OnConstraint},
    extract::Json,
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateService {
    name: Slug,
    #[serde(default)]
    description: String,
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Json(body): Json<CreateService>,
) -> Result<impl IntoResponse, ApiError> {
    authorize(&who, Permission::ServiceCreate, None)?;
    text("/description", &body.description, 500)?;
    let id = ServiceId::generate();
    let mut tx = state.pool.begin().await?;
    services::insert(&mut tx, id, &body.name, &body.description).await.on_constraint("services_name_key", taken)?;
    let row = services::get(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?;
    let detail = serde_json::json!({ "name": body.name });
    let change = Change {
        action: Permission::ServiceCreate.name(),
        resource: "service",
        id: id.to_string(),
        service: Some(id),
        detail,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/services/{id}"))], Answer(Service::from(row))))
}
