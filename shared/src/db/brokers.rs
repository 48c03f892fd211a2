//! Brokers of services, and what they were made of.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, credentials::SealedCredential, ensure_rows};
use crate::{
    broker::ManagementUrl,
    id::{CredentialId, GroupId, JobId, ServiceId},
    name::Slug,
};

/// The broker of a service.
#[derive(Debug, Clone)]
pub struct BrokerRow {
    pub service_id: ServiceId,
    pub url: ManagementUrl,
    pub vhost: String,
    pub credential_id: CredentialId,
    pub tls_ca_pem: Option<String>,
    /// Patterns of [`crate::wipe::KeepPattern`].
    pub queues: Vec<String>,
    pub worker_group: Slug,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a broker was made of, for as long as it was.
#[derive(Debug, Clone)]
pub struct DefinitionsRow {
    pub at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    pub url: ManagementUrl,
    pub vhost: String,
    pub sha256: Vec<u8>,
    pub definitions: String,
}

/// As [`DefinitionsRow`], without them.
#[derive(Debug, Clone)]
pub struct VersionRow {
    pub at: DateTime<Utc>,
    pub seen_at: DateTime<Utc>,
    pub url: ManagementUrl,
    pub vhost: String,
    pub sha256: Vec<u8>,
    pub bytes: i32,
}

/// A broker with the credential under which a worker speaks to it.
#[derive(Debug, Clone)]
pub struct BrokerWork {
    pub url: ManagementUrl,
    pub vhost: String,
    pub tls_ca_pem: Option<String>,
    pub credential: SealedCredential,
}

/// Names the broker of a service, or another one.
pub async fn put(conn: &mut PgConnection, row: &BrokerRow) -> Result<(), DbError> {
    let result = sqlx::query!(
        "INSERT INTO brokers (service_id, url, vhost, credential_id, tls_ca_pem, queues, worker_group)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (service_id) DO UPDATE SET url = $2, vhost = $3, credential_id = $4, tls_ca_pem = $5, queues = $6,
             worker_group = $7, updated_at = clock_timestamp()",
        row.service_id.0,
        row.url.as_str(),
        row.vhost,
        row.credential_id.0,
        row.tls_ca_pem,
        &row.queues,
        row.worker_group.as_str()
    )
    .execute(conn)
    .await?;
    ensure_rows("brokers", &result, 1)
}

/// The broker of a service; none: it has none.
pub async fn get(conn: &mut PgConnection, id: ServiceId) -> Result<Option<BrokerRow>, DbError> {
    Ok(sqlx::query_as!(
        BrokerRow,
        "SELECT service_id, url, vhost, credential_id, tls_ca_pem, queues, worker_group, created_at, updated_at
         FROM brokers WHERE service_id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// As [`get`], for a worker.
pub async fn work(conn: &mut PgConnection, id: ServiceId) -> Result<Option<BrokerWork>, DbError> {
    let row = sqlx::query!(
        "SELECT b.url, b.vhost, b.tls_ca_pem, c.id AS credential_id, c.user_name AS \"user_name: String\", c.sealed_version, c.key_id,
             c.encapped, c.ciphertext
         FROM brokers b JOIN credentials c ON c.id = b.credential_id WHERE b.service_id = $1",
        id.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| BrokerWork {
        url: row.url,
        vhost: row.vhost,
        tls_ca_pem: row.tls_ca_pem,
        credential: SealedCredential::of(
            row.credential_id,
            row.user_name,
            (row.sealed_version, row.key_id, row.encapped, row.ciphertext),
        ),
    }))
}

/// Forgets the broker. What it was made of stays.
pub async fn delete(conn: &mut PgConnection, id: ServiceId) -> Result<bool, DbError> {
    let result = sqlx::query!("DELETE FROM brokers WHERE service_id = $1", id.0).execute(conn).await?;
    Ok(result.rows_affected() == 1)
}

/// Keeps what the broker is made of; what is as it was last time is only seen again. Whether it is new.
pub async fn keep(
    conn: &mut PgConnection,
    service: ServiceId,
    job: JobId,
    (url, vhost): (&ManagementUrl, &str),
    sha256: &[u8],
    definitions: &str,
) -> Result<bool, DbError> {
    // One after another, so that two looks at once do not both find it new.
    sqlx::query!("SELECT id FROM services WHERE id = $1 FOR UPDATE", service.0).fetch_optional(&mut *conn).await?;
    let seen = sqlx::query!(
        "UPDATE broker_definitions SET seen_at = clock_timestamp()
         WHERE id = (SELECT max(id) FROM broker_definitions WHERE service_id = $1) AND sha256 = $2 AND url = $3 AND vhost = $4",
        service.0,
        sha256,
        url.as_str(),
        vhost
    )
    .execute(&mut *conn)
    .await?;
    if seen.rows_affected() > 0 {
        return Ok(false);
    }
    sqlx::query!(
        "INSERT INTO broker_definitions (service_id, job_id, url, vhost, sha256, definitions) VALUES ($1, $2, $3, $4, $5, $6)",
        service.0,
        job.0,
        url.as_str(),
        vhost,
        sha256,
        definitions
    )
    .execute(conn)
    .await?;
    Ok(true)
}

/// What the broker of a service was made of: the latest, or the latest with this digest.
pub async fn definitions(
    conn: &mut PgConnection,
    service: ServiceId,
    sha256: Option<&[u8]>,
) -> Result<Option<DefinitionsRow>, DbError> {
    Ok(sqlx::query_as!(
        DefinitionsRow,
        "SELECT at, seen_at, url, vhost, sha256, definitions FROM broker_definitions
         WHERE service_id = $1 AND ($2::bytea IS NULL OR sha256 = $2) ORDER BY id DESC LIMIT 1",
        service.0,
        sha256
    )
    .fetch_optional(conn)
    .await?)
}

/// When the broker of a service was made of what, the latest first.
pub async fn versions(conn: &mut PgConnection, service: ServiceId, limit: i64) -> Result<Vec<VersionRow>, DbError> {
    Ok(sqlx::query_as!(
        VersionRow,
        "SELECT at, seen_at, url, vhost, sha256, octet_length(definitions) AS \"bytes!\" FROM broker_definitions
         WHERE service_id = $1 ORDER BY id DESC LIMIT $2",
        service.0,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// How the wipes of a group stand: those that have not ended, and those that ended otherwise than well.
pub async fn wipes(conn: &mut PgConnection, group: GroupId) -> Result<(i64, i64), DbError> {
    let row = sqlx::query!(
        "SELECT count(*) FILTER (WHERE state IN ('queued', 'running')) AS \"open!\",
                count(*) FILTER (WHERE state IN ('failed', 'cancelled')) AS \"bad!\"
         FROM jobs WHERE group_id = $1 AND kind = 'wipe'",
        group.0
    )
    .fetch_one(conn)
    .await?;
    Ok((row.open, row.bad))
}
