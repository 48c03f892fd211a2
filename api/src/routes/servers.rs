//! Database servers.

pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod update;

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    db::servers::ServerRow,
    id::ServerId,
    name::{DatabaseName, HostName, Slug},
    server::{Engine, TlsMode},
};

use crate::error::ApiError;

/// A server as the API shows it.
#[derive(Debug, Serialize)]
pub struct Server {
    pub id: ServerId,
    pub name: Slug,
    pub engine: Engine,
    pub host: HostName,
    pub port: i32,
    pub tls_mode: TlsMode,
    /// A certificate is no secret.
    pub tls_ca_pem: Option<String>,
    pub maintenance_database: DatabaseName,
    pub max_jobs: i32,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl From<ServerRow> for Server {
    fn from(row: ServerRow) -> Self {
        let ServerRow {
            id,
            name,
            engine,
            host,
            port,
            tls_mode,
            tls_ca_pem,
            maintenance_database,
            max_jobs,
            created_at,
            updated_at,
        } = row;
        Self {
            id,
            name,
            engine,
            host,
            port,
            tls_mode,
            tls_ca_pem,
            maintenance_database,
            max_jobs,
            created_at,
            updated_at,
        }
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
    match row.tls_ca_pem.as_deref() {
        Some(pem)
            if !pem.contains("-----BEGIN CERTIFICATE-----") || pem.contains("PRIVATE KEY") || pem.contains('\0') =>
        {
            Err(ApiError::field("/tls_ca_pem", "must hold certificates in PEM, and nothing but certificates"))
        }
        _ => Ok(()),
    }
}
