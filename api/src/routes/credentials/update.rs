//! `PATCH /v1/credentials/{id}`: a new name, user name or password.

use axum::{Extension, Json as Answer, extract::State};
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
    extract::{Json, Path},
    gate::Context,
    rbac::{Permission, authorize},
    state::AppState,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateCredential {
    name: Option<Slug>,
    user_name: Option<UserName>,
    password: Option<SecretString>,
}

pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    who: Identity,
    Path(id): Path<CredentialId>,
    Json(body): Json<UpdateCredential>,
) -> Result<Answer<Credential>, ApiError> {
    authorize(&who, Permission::CredentialUpdate, None)?;
    let sealed = body.password.as_ref().map(|password| seal(&state, id, password)).transpose()?;
    let mut tx = state.pool.begin().await?;
    if credentials::get(&mut tx, id).await?.is_none() {
        return Err(ApiError::NotFound("credential"));
    }
    credentials::update(&mut tx, id, body.name.as_ref(), body.user_name.as_ref(), sealed.as_ref())
        .await
        .on_constraint("credentials_name_key", taken)?;
    let row = credentials::get(&mut tx, id).await?.ok_or(ApiError::NotFound("credential"))?;
    let detail =
        serde_json::json!({ "name": body.name, "user_name": body.user_name, "password_changed": sealed.is_some() });
    let change = Change {
        action: Permission::CredentialUpdate.name(),
        resource: "credential",
        id: id.to_string(),
        service: None,
        detail,
    };
    changed(&mut tx, &who, &context, change).await?;
    tx.commit().await?;
    Ok(Answer(row.into()))
}
