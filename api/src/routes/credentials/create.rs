//! `POST /v1/credentials`.

use axum::{
    Extension, Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use secrecy::SecretString;
use serde::Deserialize;
use shared::{
    db::credentials,
    id::CredentialId,
    name::{Slug, UserName},
};

use super::{Credential, seal, taken};
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
pub struct CreateCredential {
    name: Slug,
    user_name: UserName,
    password: SecretString,
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Json(body): Json<CreateCredential>,
) -> Result<impl IntoResponse, ApiError> {
    authorize(&who, Permission::CredentialCreate, None)?;
    let id = CredentialId::generate();
    let sealed = seal(&state, id, &body.password)?;
    let mut tx = state.pool.begin().await?;
    credentials::insert(&mut tx, id, &body.name, &body.user_name, &sealed)
        .await
        .on_constraint("credentials_name_key", taken)?;
    let row = credentials::get(&mut tx, id).await?.ok_or(ApiError::NotFound("credential"))?;
    let detail = serde_json::json!({ "name": body.name });
    let change = Change {
        action: Permission::CredentialCreate.name(),
        resource: "credential",
        id: id.to_string(),
        service: None,
        detail,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/credentials/{id}"))], Answer(Credential::from(row))))
}
