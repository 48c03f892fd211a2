//! Tickets: one-time leave to fetch bytes from a worker or to bring them, and while they flow the proof that a save is in
//! use. Times are the server's; of a ticket only its SHA-256 is kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};

use super::DbError;
use crate::{
    id::{AdminId, JobId, SaveId, TargetId, TransferId},
    job::{NewDatabase, Problem},
    name::Slug,
};

/// How long a ticket may wait for its use: the API uses it at once.
pub const LIFE: Duration = Duration::from_mins(5);

/// What a ticket is for. It is good for nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Errand {
    /// Stored bytes of one copy: one object, or all of them as a tar.
    Content { save_id: SaveId, store: Slug, part: Option<String> },
    /// A dump that becomes a save of the target; or, where a database is named, plain SQL that becomes that.
    Import {
        target_id: TargetId,
        note: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        into: Option<NewDatabase>,
    },
}

impl Errand {
    fn save(&self) -> Option<SaveId> {
        match self {
            Self::Content { save_id, .. } => Some(*save_id),
            Self::Import { .. } => None,
        }
    }
}

/// A ticket to write.
#[derive(Debug, Clone)]
pub struct NewTicket {
    pub id: TransferId,
    /// SHA-256 of the ticket.
    pub hash: [u8; 32],
    pub errand: Errand,
    pub admin_id: AdminId,
    pub request_id: String,
}

/// A ticket that was just spent.
#[derive(Debug, Clone)]
pub struct Ticket {
    pub id: TransferId,
    pub errand: Json<Errand>,
    pub admin_id: Option<AdminId>,
    pub request_id: Option<String>,
}

/// What became of a ticket that was spent.
#[derive(Debug, Clone)]
pub struct Fate {
    pub job_id: Option<JobId>,
    pub refusal: Option<Json<Problem>>,
}

/// Writes a ticket. Only its hash is kept.
pub async fn issue(conn: &mut PgConnection, ticket: &NewTicket) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO transfers (id, ticket_hash, errand, save_id, admin_id, request_id, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))",
        ticket.id.0,
        ticket.hash.as_slice(),
        Json(&ticket.errand) as _,
        ticket.errand.save() as _,
        ticket.admin_id.0,
        ticket.request_id,
        LIFE.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Spends a ticket; none: there is none like this that is still good. It is looked up by the hash of what was shown, so that
/// no comparison takes longer the closer a guess comes. The save it names counts as in use for the time of a `lease` from here
/// on, provided that the caller then finds it available under its lock in the same transaction.
pub async fn spend(
    tx: &mut PgConnection,
    hash: &[u8; 32],
    worker: &str,
    lease: Duration,
) -> Result<Option<Ticket>, DbError> {
    Ok(sqlx::query_as!(
        Ticket,
        "UPDATE transfers SET used_at = clock_timestamp(), worker = $2,
             busy_until = clock_timestamp() + make_interval(secs => $3)
         WHERE ticket_hash = $1 AND used_at IS NULL AND expires_at > clock_timestamp()
         RETURNING id, errand, admin_id, request_id",
        hash.as_slice(),
        worker,
        lease.as_secs_f64()
    )
    .fetch_optional(tx)
    .await?)
}

/// Says that bytes still flow.
pub async fn beat(conn: &mut PgConnection, id: TransferId, lease: Duration) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE transfers SET busy_until = clock_timestamp() + make_interval(secs => $2)
         WHERE id = $1 AND busy_until IS NOT NULL",
        id.0,
        lease.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The transfer is over, and the save is free again.
pub async fn end(conn: &mut PgConnection, id: TransferId) -> Result<(), DbError> {
    sqlx::query!("UPDATE transfers SET busy_until = NULL WHERE id = $1", id.0).execute(conn).await?;
    Ok(())
}

/// Notes which job the bytes became.
pub async fn set_job(conn: &mut PgConnection, id: TransferId, job: JobId) -> Result<(), DbError> {
    sqlx::query!("UPDATE transfers SET job_id = $2 WHERE id = $1", id.0, job.0).execute(conn).await?;
    Ok(())
}

/// Notes why the bytes were not taken, for an API that was still sending when it was told.
pub async fn refuse(conn: &mut PgConnection, id: TransferId, problem: &Problem) -> Result<(), DbError> {
    sqlx::query!("UPDATE transfers SET refusal = $2, busy_until = NULL WHERE id = $1", id.0, Json(problem) as _)
        .execute(conn)
        .await?;
    Ok(())
}

/// What became of it.
pub async fn fate(conn: &mut PgConnection, id: TransferId) -> Result<Option<Fate>, DbError> {
    Ok(sqlx::query_as!(Fate, "SELECT job_id, refusal FROM transfers WHERE id = $1", id.0).fetch_optional(conn).await?)
}

/// Whether somebody fetches this save now. Ask under the save's lock.
pub async fn is_fetched(conn: &mut PgConnection, save: SaveId) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT EXISTS (SELECT FROM transfers WHERE save_id = $1 AND busy_until > clock_timestamp()) AS \"is!\"",
        save.0
    )
    .fetch_one(conn)
    .await?)
}

/// Removes tickets that are over. Those of uploads stay for as long as one may last: its end is looked up by them.
pub async fn prune(conn: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM transfers WHERE expires_at < clock_timestamp() - interval '7 days'
           AND (busy_until IS NULL OR busy_until < clock_timestamp())"
    )
    .execute(conn)
    .await?;
    Ok(())
}
