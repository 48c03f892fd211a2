//! `PATCH /v1/services/{id}`.

use axum::response::Response;
use serde::Deserialize;
use shared::{db::services, id::ServiceId, name::Slug};

use super::{MAX_DESCRIPTION, Service, taken};
use crate::{
    audit::{Change, difference},
    call::Call,
    error::{ApiError, OnConstraint},
    etag,
    extract::{Json, Path, short},
    merge::Merge,
    rbac::Permission,
};

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
/// What is to change of a service.
#[schema(example = json!({ "description": "what the items were" }))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateService {
    /// A new name; keys of saves keep the old one.
    name: Merge<Slug>,
    /// For people; at most 500 characters.
    description: Merge<String>,
}

/// Changes a service.
#[utoipa::path(
    patch, path = "/v1/services/{id}",
    request_body = UpdateService,
    responses((status = 200, body = Service), (status = 409, description = "the name is taken")),
)]
pub async fn handle(
    call: Call,
    Path(id): Path<ServiceId>,
    Json(body): Json<UpdateService>,
) -> Result<Response, ApiError> {
    let permission = Permission::ServiceUpdate;
    call.authorize(permission, Some(id))?;
    let (name, description) = (body.name.new_value(), body.description.new_value().map(String::as_str));
    short("/description", description.unwrap_or_default(), MAX_DESCRIPTION)?;
    let mut tx = call.begin().await?;
    let before = Service::from(services::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?);
    call.check_match(&before)?;
    services::update(&mut tx, id, name, description).await.on_constraint("services_name_key", taken)?;
    let after = Service::from(services::get(&mut tx, id).await?.ok_or(ApiError::NotFound("service"))?);
    let detail = difference(&before, &after);
    call.commit(tx, Change::new(permission, id, Some(id), detail)).await?;
    etag::changed(&after)
}
