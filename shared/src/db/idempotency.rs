//! Requests that carry an `Idempotency-Key`. A key is claimed and its answer stored in the transaction of what was asked
//! for: both are there, or neither is.

use sqlx::PgConnection;

use super::{DbError, ensure_rows};
use crate::id::{AdminId, JobId};

/// Whose key it is and for what: the same text elsewhere is another key.
#[derive(Debug, Clone, Copy)]
pub struct Key<'a> {
    pub admin_id: AdminId,
    pub method: &'a str,
    pub path: &'a str,
    pub key: &'a str,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This job was enqueued, and nothing else.
    Job(JobId),
    Text {
        status: i16,
        location: Option<String>,
        body: String,
    },
}

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is this transaction's from now on.
    New,
    /// The same request was answered so.
    Answered(Answer),
    /// Another request had it first.
    Taken,
}

/// Claims a key for a request. Whoever claims a key that another transaction has claimed waits for the end of that: it
/// is theirs when the other fails. A key older than 24 hours is forgotten.
pub async fn claim(tx: &mut PgConnection, key: Key<'_>, request_sha256: &[u8]) -> Result<Claim, DbError> {
    loop {
        let claimed = sqlx::query_scalar!(
            "INSERT INTO idempotency_keys AS k (admin_id, method, path, key, request_sha256) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (admin_id, method, path, key) DO UPDATE
               SET request_sha256 = excluded.request_sha256, created_at = clock_timestamp(),
                   job_id = NULL, status = NULL, location = NULL, body = NULL
               WHERE k.created_at < clock_timestamp() - interval '24 h'
             RETURNING true AS \"claimed!\"",
            key.admin_id.0,
            key.method,
            key.path,
            key.key,
            request_sha256
        )
        .fetch_optional(&mut *tx)
        .await?;
        if claimed.is_some() {
            return Ok(Claim::New);
        }
        let found = sqlx::query!(
            "SELECT request_sha256, job_id, status, location, body FROM idempotency_keys
             WHERE admin_id = $1 AND method = $2 AND path = $3 AND key = $4",
            key.admin_id.0,
            key.method,
            key.path,
            key.key
        )
        .fetch_optional(&mut *tx)
        .await?;
        // Between the two statements the sweeper may have taken it away: then it is free.
        let Some(row) = found else { continue };
        if row.request_sha256 != request_sha256 {
            return Ok(Claim::Taken);
        }
        let answer = match (row.job_id, row.status) {
            (Some(job), _) => Some(Answer::Job(job)),
            (None, Some(status)) => {
                Some(Answer::Text { status, location: row.location, body: row.body.unwrap_or_default() })
            }
            (None, None) => None,
        };
        // A claim is committed with its answer; one without was this transaction's own.
        return Ok(answer.map_or(Claim::New, Claim::Answered));
    }
}

/// Stores the answer under a key that this transaction has claimed.
pub async fn store(tx: &mut PgConnection, key: Key<'_>, answer: &Answer) -> Result<(), DbError> {
    let (job, status, location, body) = match answer {
        Answer::Job(job) => (Some(*job), None, None, None),
        Answer::Text { status, location, body } => (None, Some(*status), location.as_deref(), Some(body.as_str())),
    };
    let done = sqlx::query!(
        "UPDATE idempotency_keys SET job_id = $5, status = $6, location = $7, body = $8
         WHERE admin_id = $1 AND method = $2 AND path = $3 AND key = $4",
        key.admin_id.0,
        key.method,
        key.path,
        key.key,
        job as _,
        status,
        location,
        body
    )
    .execute(tx)
    .await?;
    ensure_rows("idempotency_keys", &done, 1)
}

/// Gives a key back that this transaction has claimed: what was done can be done again.
pub async fn release(tx: &mut PgConnection, key: Key<'_>) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM idempotency_keys WHERE admin_id = $1 AND method = $2 AND path = $3 AND key = $4",
        key.admin_id.0,
        key.method,
        key.path,
        key.key
    )
    .execute(tx)
    .await?;
    Ok(())
}
