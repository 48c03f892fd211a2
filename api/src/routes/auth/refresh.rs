//! `POST /v1/auth/refresh`: a refresh token for an access token and the next refresh token. It works once: one that comes again
//! ends its session, because either it or its successor is in somebody else's hands.

use axum::{Extension, Json as Answer, extract::State};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use shared::db::{
    audit::{self, Outcome},
    refresh::{self, Hash},
};
use sqlx::{Postgres, Transaction};

use crate::{
    auth::{
        opaque::{self, Kind},
        refresh::{Issued, issue},
        token::Subject,
    },
    error::ApiError,
    extract::{Json, NoQuery, Query},
    gate::Context,
    state::AppState,
};

#[derive(Debug, Deserialize, utoipa::ToSchema)]
/// A refresh token.
#[schema(example = json!({ "refresh_token": "hfr_9mCq0p1k3v7sX2bN5t8yZ4wA6dF1gH0jK" }))]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// As login or the last refresh answered it.
    #[schema(value_type = String, format = Password, write_only)]
    refresh_token: SecretString,
}

/// Exchanges a refresh token for an access token and the next refresh token.
///
/// It works once: one that comes again ends its session, because either it or its successor is in somebody else's hands.
#[utoipa::path(
    post, path = "/v1/auth/refresh",
    request_body = Refresh,
    responses((status = 200, body = Issued), (status = 401, description = "the refresh token is not valid: log in")),
)]
pub async fn handle(
    State(state): State<AppState>,
    Extension(context): Extension<Context>,
    _: Query<NoQuery>,
    Json(body): Json<Refresh>,
) -> Result<Answer<Issued>, ApiError> {
    let hash = opaque::read(Kind::Refresh, body.refresh_token.expose_secret()).ok_or(ApiError::RefreshRefused)?;
    let mut tx = state.pool.begin().await?;
    let Some(session) = refresh::exchange(&mut tx, &hash).await? else {
        refused(tx, &context, &hash).await?;
        return Err(ApiError::RefreshRefused);
    };
    let entry = audit::Entry {
        admin_id: Some(session.admin_id),
        admin_name: Some(&session.admin_name),
        action: "auth.refresh",
        resource_type: Some("session"),
        resource_id: Some(session.session_id.to_string()),
        address: Some(&context.address),
        request_id: Some(&context.request_id),
        ..audit::Entry::default()
    };
    audit::insert(&mut tx, &entry).await?;
    let subject = Subject { admin: session.admin_id, session: session.session_id, version: session.token_version };
    let issued = issue(&state, &mut tx, subject, session.expires_at).await?;
    tx.commit().await?;
    Ok(Answer(issued))
}

/// Ends the session of a token that has been used before. All else that may be wrong with one leaves no trace but the
/// gate's.
async fn refused(mut tx: Transaction<'static, Postgres>, context: &Context, hash: &Hash) -> Result<(), ApiError> {
    let reused = refresh::reused(&mut tx, hash, Some(context.request_id.to_string())).await?;
    let Some(reused) = reused.filter(|reused| reused.was_live) else { return Ok(()) };
    let entry = audit::Entry {
        admin_id: Some(reused.admin_id),
        admin_name: Some(&reused.admin_name),
        action: "session.reused",
        resource_type: Some("session"),
        resource_id: Some(reused.session_id.to_string()),
        outcome: Outcome::Denied,
        address: Some(&context.address),
        request_id: Some(&context.request_id),
        ..audit::Entry::default()
    };
    audit::insert(&mut tx, &entry).await?;
    tx.commit().await?;
    context.refreshing(reused.admin_id, &reused.admin_name);
    tracing::warn!(admin.id = %reused.admin_id, session.id = %reused.session_id, "refresh token used twice: session ended");
    Ok(())
}
