//! `[database]`: Holdfast's own `PostgreSQL`.

use secrecy::SecretString;

use super::reader::Section;

/// How Holdfast's own database is reached.
#[derive(Debug, Clone)]
pub struct Database {
    /// URL of the application role, which has no DDL.
    pub url: Option<SecretString>,
    /// URL of the owner role: `migrate` alone uses it.
    pub owner_url: Option<SecretString>,
    /// Name of the application role, to which `migrate` grants.
    pub app_role: String,
    /// Connections of this process, 1 to 500.
    pub max_connections: u32,
    /// Connections kept apart for lease beats, 1 to 20.
    pub beat_connections: u32,
}

impl Database {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            url: postgres_url(s, "url"),
            owner_url: postgres_url(s, "owner_url"),
            app_role: s.get("app_role", "a role's name"),
            max_connections: u32::try_from(s.number("max_connections", 1..=500)).unwrap_or(10),
            beat_connections: u32::try_from(s.number("beat_connections", 1..=20)).unwrap_or(2),
        }
    }
}

fn postgres_url(s: &mut Section<'_>, name: &str) -> Option<SecretString> {
    use secrecy::ExposeSecret;
    let url = s.secret(name)?;
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.expose_secret().starts_with(scheme)) {
        s.fail(name, "is not a PostgreSQL URL", "give postgres://user:password@host:port/database");
    }
    Some(url)
}
