//! Pools. Each has its purpose: beats must not wait for anything else.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::DbError;

/// How long a caller waits for a connection before it hears that there is none.
const ACQUIRE: Duration = Duration::from_secs(5);

/// Connects to Holdfast's own database. The URL is a secret and appears in no error.
pub async fn connect(url: &str, connections: u32, application_name: &str) -> Result<PgPool, DbError> {
    let options = PgConnectOptions::from_str(url)?.application_name(application_name);
    Ok(PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE).connect_with(options).await?)
}
