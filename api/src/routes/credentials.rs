//! Credentials: written, never read back.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod update;

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use shared::{
    db::credentials::{self, CredentialRow},
    id::CredentialId,
    name::{Slug, UserName},
    secret::{self, Sealed},
};

use crate::{error::ApiError, state::AppState, view::view};

view! {
    /// A credential as the API shows it: without its password.
    pub struct Credential of CredentialRow {
        id: CredentialId,
        name: Slug,
        /// The database user.
        user_name: UserName,
        /// To which of the workers' keys the password is sealed.
        #[schema(example = "k1")]
        key_id: String,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

fn taken() -> ApiError {
    ApiError::Conflict("a credential of that name exists already".into())
}

/// Seals a password to the workers, for this row alone.
fn seal(state: &AppState, id: CredentialId, password: &SecretString) -> Result<Sealed, ApiError> {
    let text = password.expose_secret();
    if text.is_empty() || text.len() > 1024 || text.contains(['\n', '\r']) {
        return Err(ApiError::field("/password", "must have 1 to 1024 bytes, without line breaks"));
    }
    if ["mongodb://", "mongodb+srv://", "postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Err(ApiError::field(
            "/password",
            "is a connection string: give the user and the password alone, and the hosts with the server",
        ));
    }
    if !shared::name::can_be_prepared(text) {
        return Err(ApiError::field(
            "/password",
            "holds a character that no login can carry (RFC 4013: control characters, emoji and the like): give the role another password",
        ));
    }
    secret::seal(&state.seal_to, &credentials::password_of(id), password)
        .map_err(|error| ApiError::Internal(error.into()))
}
