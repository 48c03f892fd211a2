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
    server::{Auth, Engine, MongoUri, TlsMode},
};

use crate::{error::ApiError, view::view};

view! {
    /// A server as the API shows it. Its certificate is no secret.
    pub struct Server of ServerRow {
        id: ServerId,
        name: Slug,
        engine: Engine,
        /// Of a MongoDB server with a `uri`: its first host.
        host: HostName,
        #[schema(example = 5432)]
        port: i32,
        tls_mode: TlsMode,
        /// Whose certificates are believed, in PEM; none: those the system believes.
        tls_ca_pem: Option<String>,
        /// Where databases are created from.
        maintenance_database: DatabaseName,
        /// How many jobs work on the server at once.
        #[schema(example = 2)]
        max_jobs: i32,
        /// How many bytes its disks hold, for preflights; none: not known.
        capacity_bytes: Option<i64>,
        /// Of a MongoDB server: hosts and options.
        uri: Option<String>,
        auth: Auth,
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
    check_engine(row)?;
    match row.tls_ca_pem.as_deref() {
        Some(pem) if !pem.contains("-----BEGIN CERTIFICATE-----") || pem.contains("PRIVATE KEY") => {
            Err(ApiError::field("/tls_ca_pem", "must hold certificates in PEM, and nothing but certificates"))
        }
        _ => Ok(()),
    }
}

/// What only one kind of server has.
fn check_engine(row: &ServerRow) -> Result<(), ApiError> {
    match row.engine {
        Engine::Postgres if row.uri.is_some() => {
            Err(ApiError::field("/uri", "is for MongoDB servers: give host and port"))
        }
        Engine::Postgres if row.auth == Auth::None => {
            Err(ApiError::field("/auth", "must be \"password\": PostgreSQL servers know users"))
        }
        Engine::Mongodb if row.tls_mode == TlsMode::Prefer => Err(ApiError::field(
            "/tls_mode",
            "must not be \"prefer\": MongoDB negotiates nothing, say \"disable\" or \"require\"",
        )),
        Engine::Mongodb if row.tls_mode == TlsMode::VerifyCa => Err(ApiError::field(
            "/tls_mode",
            "must not be \"verify_ca\": where MongoDB's certificate is verified its host name is too, say \"verify_full\"",
        )),
        _ => Ok(()),
    }
}

/// Host and port of a row: those of the first host where there is a connection string.
fn place(
    uri: Option<&MongoUri>,
    host: Option<HostName>,
    port: Option<u16>,
) -> Result<(HostName, Option<u16>), ApiError> {
    match (uri, host, port) {
        (Some(_), Some(_), _) => Err(ApiError::field("/host", "must be left out beside a uri, which names the hosts")),
        (Some(_), None, Some(_)) => {
            Err(ApiError::field("/port", "must be left out beside a uri, which names the ports"))
        }
        (Some(uri), None, None) => match uri.first_host() {
            Some((host, port)) => Ok((host, Some(port))),
            None => Err(ApiError::field("/uri", "names no host")),
        },
        (None, Some(host), port) => Ok((host, port)),
        (None, None, _) => Err(ApiError::field("/host", "is missing")),
    }
}
