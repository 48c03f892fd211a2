//! Claiming a job, keeping its lease, and writing its progress: every statement here is fenced on (job, epoch).
//!
//! All lease arithmetic is the server's `clock_timestamp()`: no machine's clock decides who owns a job (guarantees B5).

use std::time::Duration;

use sqlx::{Connection, PgConnection, types::Json};

use super::{
    DbError, finish,
    jobs::{self, JobRow},
    outbox,
};
use crate::{
    failpoint,
    id::JobId,
    job::{JobState, Journal, Progress},
};

/// Who may work on a job, and the fencing number that every write of that work carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fence {
    pub job: JobId,
    pub epoch: i64,
}

/// What a beat found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    Kept,
    CancelRequested,
    /// Somebody else owns the job: stop, and write nothing more.
    Lost,
}

const UNIQUE_RACES: usize = 16;

/// Claims the best eligible job of the groups: highest priority, then earliest due, then oldest id. `None`: nothing to do.
///
/// Two claimers that pick jobs with the same exclusive key, or the same place on a server, meet in a unique index: the
/// second looks again and then sees the first one's row.
pub async fn claim(
    conn: &mut PgConnection,
    owner: &str,
    groups: &[String],
    lease: Duration,
) -> Result<Option<JobRow>, DbError> {
    for _ in 0..UNIQUE_RACES {
        match claim_once(conn, owner, groups, lease).await {
            Err(error) if matches!(error.constraint(), Some("jobs_exclusive" | "jobs_server_slot")) => {}
            other => return other,
        }
    }
    Ok(None)
}

async fn claim_once(
    conn: &mut PgConnection,
    owner: &str,
    groups: &[String],
    lease: Duration,
) -> Result<Option<JobRow>, DbError> {
    let mut tx = conn.begin().await?;
    let claimed = sqlx::query_file_scalar!("src/db/sql/claim.sql", owner, groups, lease.as_secs_f64())
        .fetch_optional(&mut *tx)
        .await?;
    let row = match claimed {
        Some(id) => jobs::get(&mut tx, id).await?,
        None => None,
    };
    if let Some(JobRow { id, reads_save_id: Some(save), .. }) = &row {
        // A deletion holds the save's row while it looks for users: it sees this one, or this one sees the deletion. Of a
        // save that is not available there is no use to register; the handler finds it so and fails for good.
        sqlx::query!(
            "INSERT INTO save_uses (save_id, job_id) SELECT id, $2 FROM saves WHERE id = $1 AND state = 'available' FOR SHARE
             ON CONFLICT DO NOTHING",
            save.0,
            id.0
        )
        .execute(&mut *tx)
        .await?;
    }
    if let Some(job) = &row {
        outbox::insert(&mut tx, &finish::job_event(job)).await?;
    }
    let Some(row) = row else {
        tx.commit().await?;
        return Ok(None);
    };
    // Looking for work and finding none is no place to die at.
    failpoint!("claim.commit.before");
    tx.commit().await?;
    failpoint!("claim.commit.after");
    Ok(Some(row))
}

/// Claims this very job, which was queued in the same transaction for what the caller holds. `None`: a job with a journal
/// has to be looked at first. Where another one runs under the same exclusive key, the unique index answers.
pub async fn take(tx: &mut PgConnection, id: JobId, owner: &str, lease: Duration) -> Result<Option<JobRow>, DbError> {
    let taken = sqlx::query_scalar!(
        "UPDATE jobs j SET state = 'running', phase = 'starting', attempt = attempt + 1, epoch = epoch + 1,
             lease_owner = $2, lease_until = clock_timestamp() + make_interval(secs => $3), started_at = clock_timestamp()
         WHERE j.id = $1 AND j.state = 'queued' AND NOT EXISTS (
             SELECT 1 FROM jobs r WHERE r.state = 'queued' AND r.journal IS NOT NULL
               AND r.exclusive_key = j.exclusive_key AND r.id <> j.id)
         RETURNING j.id",
        id.0,
        owner,
        lease.as_secs_f64()
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(id) = taken else { return Ok(None) };
    let row = jobs::get(tx, id).await?;
    if let Some(job) = &row {
        outbox::insert(tx, &finish::job_event(job)).await?;
    }
    Ok(row)
}

/// Prolongs the lease, and learns whether the job is to be cancelled.
pub async fn beat(conn: &mut PgConnection, fence: Fence, lease: Duration) -> Result<Beat, DbError> {
    let cancel = sqlx::query_scalar!(
        "UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => $3)
         WHERE id = $1 AND epoch = $2 AND state = 'running' RETURNING cancel_requested_at IS NOT NULL AS \"cancel!\"",
        fence.job.0,
        fence.epoch,
        lease.as_secs_f64()
    )
    .fetch_optional(conn)
    .await?;
    Ok(match cancel {
        Some(false) => Beat::Kept,
        Some(true) => Beat::CancelRequested,
        None => Beat::Lost,
    })
}

/// Names what the job is doing now. `false`: the lease is lost.
pub async fn set_phase(conn: &mut PgConnection, fence: Fence, phase: &str) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE jobs SET phase = $3 WHERE id = $1 AND epoch = $2 AND state = 'running'",
        fence.job.0,
        fence.epoch,
        phase
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The point of no return: phase `committing` and the journal, unless the lease is lost or a cancel was asked for
/// (`false`: do not go on). From here a cancel is refused, and no later attempt does the work again.
pub async fn commit_point(conn: &mut PgConnection, fence: Fence, journal: &Journal) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE jobs SET phase = 'committing', journal = $3
         WHERE id = $1 AND epoch = $2 AND state = 'running' AND cancel_requested_at IS NULL AND journal IS NULL",
        fence.job.0,
        fence.epoch,
        Json(journal) as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes how far the job is. `false`: the lease is lost.
pub async fn set_progress(conn: &mut PgConnection, fence: Fence, progress: &Progress) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE jobs SET progress = $3 WHERE id = $1 AND epoch = $2 AND state = 'running'",
        fence.job.0,
        fence.epoch,
        Json(progress) as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Whether this attempt still owns the job; asked inside the transaction that is about to write for it, whose row lock
/// then keeps it so until the end.
pub async fn owns(conn: &mut PgConnection, fence: Fence) -> Result<bool, DbError> {
    let row = sqlx::query_scalar!(
        "SELECT id FROM jobs WHERE id = $1 AND epoch = $2 AND state = 'running' FOR NO KEY UPDATE",
        fence.job.0,
        fence.epoch
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.is_some())
}

/// What a job's row says about an attempt whose last COMMIT was never answered.
pub async fn standing(conn: &mut PgConnection, job: JobId) -> Result<Option<(i64, JobState)>, DbError> {
    let row = sqlx::query!("SELECT epoch, state FROM jobs WHERE id = $1", job.0).fetch_optional(conn).await?;
    Ok(row.map(|row| (row.epoch, row.state)))
}
