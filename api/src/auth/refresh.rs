//! What a login and a refresh answer: an access token, and the refresh token that gets the next one.

use std::fmt;

use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::Serialize;
use shared::db::refresh;
use sqlx::PgConnection;

use super::{
    opaque::{self, Kind},
    token::Subject,
};
use crate::{error::ApiError, state::AppState};

/// The tokens of a session, as they are answered. Neither is shown again.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Issued {
    /// For `Authorization: Bearer`.
    #[schema(example = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjEifQ.e30.c2lnbmF0dXJl")]
    access_token: String,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// When the access token ends.
    expires_at: DateTime<Utc>,
    /// For `POST /v1/auth/refresh`, once.
    #[schema(example = "hfr_9mCq0p1k3v7sX2bN5t8yZ4wA6dF1gH0jK")]
    refresh_token: String,
    /// When the session ends, whatever is renewed.
    session_expires_at: DateTime<Utc>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Makes both tokens. The refresh token's hash is kept in the transaction: commit before they are answered.
pub async fn issue(
    state: &AppState,
    tx: &mut PgConnection,
    subject: Subject,
    session_end: DateTime<Utc>,
) -> Result<Issued, ApiError> {
    let refresh = opaque::generate(Kind::Refresh)?;
    refresh::insert(tx, subject.session, &refresh.hash).await?;
    let (access_token, exp) = state.tokens.issue(subject, Utc::now().timestamp(), session_end.timestamp())?;
    Ok(Issued {
        access_token,
        token_type: "Bearer",
        expires_at: DateTime::from_timestamp(exp, 0).unwrap_or(session_end),
        refresh_token: refresh.text.expose_secret().to_owned(),
        session_expires_at: session_end,
    })
}
