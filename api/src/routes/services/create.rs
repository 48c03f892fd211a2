//! `POST /v1/services`.

use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use shared::{db::services, id::ServiceId, name::Slug};

use super::{MAX_DESCRIPTION, Service, taken};
use crate::{
    audit::Change,
    call::Call,
    error::{ApiError, OnConstraint},
    extract::{Json, short},
    rbac::Permission,
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A service to register.
#[schema(example = json!({ "name": "items", "description": "what the items are" }))]
#[serde(deny_unknown_fields)]
pub struct CreateService {
    /// Unique among services; stands in object keys and routing keys.
    name: Slug,
    /// For people.
    #[serde(default)]
    #[schema(max_length = 500)]
    description: String,
}

/// Registers a service.
#[utoipa::path(
    post, path = "/v1/services",
    request_body = CreateService,
    responses((status = 201, body = Service), (status = 409, description = "the name is taken")),
)]
pub async fn handle(call: Call, Json(body): Json<CreateService>) -> Result<Response, ApiError> {
    let permission = Permission::ServiceCreate;
    call.authorize(permission, None)?;
    short("/description", &body.description, MAX_DESCRIPTION)?;
    let id = ServiceId::generate();
    let mut tx = call.begin().await?;
    services::insert(&mut tx, id, &body.name, &body.description).await.on_constraint("services_name_key", taken)?;
    let row = services::get(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?;
    call.create(
        tx,
        Change::new(permission, id, Some(id), json!({ "name": row.name })),
        "/v1/services",
        id,
        Service::from(row),
    )
    .await
}
