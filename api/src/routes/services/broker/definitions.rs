//! `GET /v1/services/{id}/broker/definitions`: what the broker is made of, and was.

use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    broker::ManagementUrl,
    db::brokers::{self, DefinitionsRow, VersionRow},
    id::ServiceId,
};

use crate::{call::Call, error::ApiError, extract::Path, rbac::Permission};

/// How many versions are listed.
const VERSIONS: i64 = 100;

/// Which of them.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The definitions with this digest, 64 hexadecimal digits; the latest unless said otherwise.
    sha256: Option<String>,
}

/// What the virtual host of a broker was made of, for as long as it was.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BrokerDefinitions)]
pub struct Kept {
    /// When it was first seen so.
    at: DateTime<Utc>,
    /// When it was last seen so.
    seen_at: DateTime<Utc>,
    url: ManagementUrl,
    #[schema(example = "/")]
    vhost: String,
    /// Of the definitions as they are kept, in hexadecimal digits.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: String,
    /// Exchanges, queues, bindings and policies, as the broker's own tools import them; without users, permissions and parameters.
    #[schema(value_type = Object)]
    definitions: serde_json::Value,
    /// The latest hundred, the latest first.
    versions: Vec<Version>,
}

/// When it was made of what.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = BrokerVersion)]
pub struct Version {
    at: DateTime<Utc>,
    seen_at: DateTime<Utc>,
    url: ManagementUrl,
    #[schema(example = "/")]
    vhost: String,
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: String,
    bytes: i32,
}

impl From<VersionRow> for Version {
    fn from(row: VersionRow) -> Self {
        let VersionRow { at, seen_at, url, vhost, sha256, bytes } = row;
        Self { at, seen_at, url, vhost, sha256: hex::encode(sha256), bytes }
    }
}

impl Kept {
    fn of(row: DefinitionsRow, versions: Vec<VersionRow>) -> Self {
        Self {
            at: row.at,
            seen_at: row.seen_at,
            url: row.url,
            vhost: row.vhost,
            sha256: hex::encode(&row.sha256),
            definitions: serde_json::from_str(&row.definitions).unwrap_or_default(),
            versions: versions.into_iter().map(Version::from).collect(),
        }
    }
}

/// Shows what the broker of a service is made of.
///
/// As the latest backup of the service found it, or an earlier one; what is as it was last time is not kept again.
#[utoipa::path(
    get, path = "/v1/services/{id}/broker/definitions",
    params(Which),
    responses((status = 200, body = Kept)),
)]
pub async fn handle(call: Call<Which>, Path(id): Path<ServiceId>) -> Result<Response, ApiError> {
    call.authorize(Permission::ServiceRead, Some(id))?;
    let digest = match &call.query.sha256 {
        None => None,
        Some(text) => {
            let bytes = hex::decode(text).ok().filter(|bytes| bytes.len() == 32);
            Some(bytes.ok_or_else(|| ApiError::field("?sha256", "must be 64 hexadecimal digits"))?)
        }
    };
    let mut conn = call.conn().await?;
    let row = brokers::definitions(&mut conn, id, digest.as_deref()).await?;
    let row = row.ok_or(ApiError::NotFound("broker definitions"))?;
    let versions = brokers::versions(&mut conn, id, VERSIONS).await?;
    call.show(&Kept::of(row, versions))
}
