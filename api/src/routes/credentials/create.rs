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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateCredential {
    name: Slug,
    user_name: UserName,
    password: SecretString,
}

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
