//! `POST /v1/auth/login`: a name and a password for an access token and a refresh token.

use axum::{Extension, Json as Answer, extract::State};
use secrecy::SecretString;
use serde::Deserialize;
use shared::{
    db::{admins, audit, sessions},
    id::SessionId,
};

use crate::{
    auth::{
        password::Verdict,
        refresh::{Issued, issue},
        token::Subject,
    },
    error::ApiError,
    extract::{Json, NoQuery, Query},
    gate::Context,
    state::AppState,
};

/// Of one account from one address within the window: then it has to wait.
pub(crate) const MAX_FAILURES: i64 = 10;
pub(crate) const WINDOW_S: f64 = 900.0;

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A name and a password.
#[schema(example = json!({ "name": "root", "password": "correct horse battery staple" }))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The admin's name; capitals do not matter.
    name: String,
    /// The password.
    #[schema(value_type = String, format = Password, write_only)]
    password: SecretString,
}

/// Exchanges a name and a password for an access token.
///
/// Ten failures in a quarter of an hour, of a name from an address, close the door for the rest of it.
#[utoipa::path(
    post, path = "/v1/auth/login",
    request_body = Login,
    responses((status = 200, body = Issued), (status = 401, description = "the name or the password is wrong, or the admin is disabled"), (status = 429, description = "too many failed logins")),
)]
pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    _: Query<NoQuery>,
    Json(body): Json<Login>,
) -> Result<Answer<Issued>, ApiError> {
    let name: String = body.name.to_lowercase().chars().take(128).collect();
    context.login(&name);
    // The attempt is counted as failed before it is checked and forgotten when it was right: guesses in parallel cannot
    // all pass the same count, and no connection is held while a hash is computed.
    let mut tx = state.pool.begin().await?;
    sessions::lock_logins(&mut tx, &name, &context.address).await?;
    let (failures, wait_s) = sessions::recent_failures(&mut tx, &name, &context.address, WINDOW_S).await?;
    if failures >= MAX_FAILURES {
        return Err(ApiError::TooManyRequests { retry_after_s: u64::try_from(wait_s).unwrap_or(1).max(1) });
    }
    sessions::record_failure(&mut tx, &name, &context.address).await?;
    let admin = admins::by_name(&mut tx, &name).await?;
    tx.commit().await?;

    let internal = |error| ApiError::Internal(Box::new(error));
    let verdict = match &admin {
        Some(admin) => {
            state.passwords.verify(body.password.clone(), admin.password_hash.clone()).await.map_err(internal)?
        }
        None => state.passwords.verify_nobody(body.password.clone()).await.map_err(internal)?,
    };
    let admin = admin.filter(|admin| verdict != Verdict::Wrong && admin.disabled_at.is_none());
    // The gate audits the refusal.
    let Some(admin) = &admin else { return Err(ApiError::BadCredentials) };
    let rehashed = match verdict {
        Verdict::RightButOld => state.passwords.hash(body.password).await.ok(),
        _ => None,
    };
    let mut tx = state.pool.begin().await?;
    // While the hash was computed the admin may have been disabled, or given another password.
    if !admins::is_still(&mut tx, admin.id, admin.token_version).await? {
        return Err(ApiError::BadCredentials);
    }
    if let Some(hash) = rehashed {
        admins::rehash(&mut tx, admin.id, &admin.password_hash, &hash).await?;
    }
    sessions::clear_failures(&mut tx, &name, &context.address).await?;
    let session = SessionId::generate();
    let session_end = sessions::open(&mut tx, session, admin.id, Some(&context.address), state.session_life_s).await?;
    let entry = audit::Entry {
        admin_id: Some(admin.id),
        admin_name: Some(&name),
        action: "auth.login",
        resource_type: Some("session"),
        resource_id: Some(session.to_string()),
        address: Some(&context.address),
        request_id: Some(&context.request_id),
        ..audit::Entry::default()
    };
    audit::insert(&mut tx, &entry).await?;
    let subject = Subject { admin: admin.id, session, version: admin.token_version };
    let issued = issue(&state, &mut tx, subject, session_end).await?;
    tx.commit().await?;
    Ok(Answer(issued))
}
