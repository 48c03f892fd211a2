//! `POST /v1/credentials`.

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
    audit::Change,
    call::Call,
    error::{ApiError, OnConstraint},
    extract::Json,
    rbac::Permission,
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A credential to register.
#[schema(example = json!({ "name": "items-backup", "user_name": "backup", "password": "a long password" }))]
#[serde(deny_unknown_fields)]
pub struct CreateCredential {
    /// Unique among credentials.
    name: Slug,
    /// The database user.
    user_name: UserName,
    /// 1 to 1024 bytes, without line breaks; never answered.
    #[schema(value_type = String, format = Password, write_only, min_length = 1, max_length = 1024)]
    password: SecretString,
}

/// Registers a credential.
///
/// The password is sealed to the workers as it comes in: the API cannot open it again.
#[utoipa::path(
    post, path = "/v1/credentials",
    request_body = CreateCredential,
    responses((status = 201, body = Credential), (status = 409, description = "the name is taken")),
)]
pub async fn handle(call: Call, Json(body): Json<CreateCredential>) -> Result<Response, ApiError> {
    let permission = Permission::CredentialCreate;
    call.authorize(permission, None)?;
    let id = CredentialId::generate();
    let sealed = seal(&call.state, id, &body.password)?;
    let mut tx = call.begin().await?;
    credentials::insert(&mut tx, id, &body.name, &body.user_name, &sealed)
        .await
        .on_constraint("credentials_name_key", taken)?;
    let row = credentials::get(&mut tx, id).await?.ok_or(ApiError::NotFound("credential"))?;
    call.create(
        tx,
        Change::new(permission, id, None, json!({ "name": row.name })),
        "/v1/credentials",
        id,
        Credential::from(row),
    )
    .await
}
