//! `PATCH /v1/credentials/{id}`: a new name, user name or password.

use axum::response::Response;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use shared::{
    db::credentials,
    id::CredentialId,
    name::{Slug, UserName},
};

use super::{Credential, seal, taken};
use crate::{
    audit::{Change, difference},
    call::Call,
    error::{ApiError, OnConstraint},
    etag,
    extract::{Json, Path},
    merge::Merge,
    rbac::Permission,
};

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
/// What is to change of a credential.
#[schema(example = json!({ "password": "another long password" }))]
#[serde(default, deny_unknown_fields)]
pub struct UpdateCredential {
    name: Merge<Slug>,
    user_name: Merge<UserName>,
    /// 1 to 1024 bytes, without line breaks; never answered.
    #[schema(value_type = String, format = Password, write_only, required = false)]
    password: Merge<SecretString>,
}

/// Changes a credential.
#[utoipa::path(
    patch, path = "/v1/credentials/{id}",
    request_body = UpdateCredential,
    responses((status = 200, body = Credential), (status = 409, description = "the name is taken")),
)]
pub async fn handle(
    call: Call,
    Path(id): Path<CredentialId>,
    Json(body): Json<UpdateCredential>,
) -> Result<Response, ApiError> {
    let permission = Permission::CredentialUpdate;
    call.authorize(permission, None)?;
    let (name, user_name) = (body.name.new_value(), body.user_name.new_value());
    let sealed = body.password.new_value().map(|password| seal(&call.state, id, password)).transpose()?;
    let mut tx = call.begin().await?;
    let before = credentials::lock(&mut tx, id).await?.ok_or(ApiError::NotFound("credential"))?;
    call.check_match(&Credential::from(before.clone()))?;
    credentials::update(&mut tx, id, name, user_name, sealed.as_ref())
        .await
        .on_constraint("credentials_name_key", taken)?;
    let after = Credential::from(credentials::get(&mut tx, id).await?.ok_or(ApiError::NotFound("credential"))?);
    let mut detail = difference(&Credential::from(before), &after);
    detail["password_changed"] = json!(sealed.is_some());
    call.commit(tx, Change::new(permission, id, None, detail)).await?;
    etag::changed(&after)
}
