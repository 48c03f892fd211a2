//! Database servers.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod update;

use chrono::{DateTime, Utc};
use shared::{
    db::servers::ServerRow,
    id::ServerId,
    name::{DatabaseName, HostName, Slug},
    server::{Engine, TlsMode},
};

use crate::{error::ApiError, view::view};

view! {
    /// A server as the API shows it. Its certificate is no secret.
    pub struct Server of ServerRow {
        id: ServerId,
        name: Slug,
        engine: Engine,
        host: HostName,
        port: i32,
        tls_mode: TlsMode,
        tls_ca_pem: Option<String>,
        maintenance_database: DatabaseName,
        max_jobs: i32,
        capacity_bytes: Option<i64>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

fn taken() -> ApiError {
    ApiError::Conflict("a server of that name exists already".into())
}

/// The bounds that the types do not hold.
fn check(row: &ServerRow) -> Result<(), ApiError> {
    if row.port == 0 {
        return Err(ApiError::field("/port", "must be 1 to 65535"));
    }
    if !(1..=64).contains(&row.max_jobs) {
        return Err(ApiError::field("/max_jobs", "must be 1 to 64"));
    }
    if row.capacity_bytes.is_some_and(|bytes| bytes < 1) {
        return Err(ApiError::field("/capacity_bytes", "must be 1 or more"));
    }
    match row.tls_ca_pem.as_deref() {
        Some(pem) if !pem.contains("-----BEGIN CERTIFICATE-----") || pem.contains("PRIVATE KEY") => {
            Err(ApiError::field("/tls_ca_pem", "must hold certificates in PEM, and nothing but certificates"))
        }
        _ => Ok(()),
    }
}
