//! The sweeper's SQL: expired leases, overdue cancels, lost hints, old rows. It never touches a store or a target.

use std::time::Duration;

use sqlx::{PgConnection, types::Json};

use super::{
    DbError, finish,
    jobs::{self, JobRow},
    tickets,
};
use crate::{
    id::JobId,
    job::{JobState, Problem},
};

/// The key of the transaction-level advisory lock that makes one sweeper of many.
const SWEEPER_LOCK: i64 = 0x486f_6c64_5357_5001;

/// Whether this transaction may sweep. The lock goes with the transaction: there is no leader to lose.
pub async fn is_mine(tx: &mut PgConnection) -> Result<bool, DbError> {
    Ok(sqlx::query_scalar!("SELECT pg_try_advisory_xact_lock($1) AS \"mine!\"", SWEEPER_LOCK).fetch_one(tx).await?)
}

/// Takes jobs from workers whose lease ran out: queued again, failed when the attempts are used up, cancelled where that
/// was asked. A job with a journal is always queued: whoever takes it only looks what became of it. After a restart of PostgreSQL a whole lease goes by first, because
/// nobody could beat while it was down.
pub async fn expire_leases(tx: &mut PgConnection, lease: Duration) -> Result<Vec<JobRow>, DbError> {
    let problem = Problem::retryable(
        "lease_expired",
        "the worker that ran this job stopped answering",
        "Look at that worker's log and memory; the job runs again on another worker.",
    );
    let expired = sqlx::query_scalar!(
        "UPDATE jobs SET epoch = epoch + 1, phase = NULL, lease_owner = NULL, lease_until = NULL, server_slot = NULL,
             dispatched_at = NULL, error = $1, next_run_at = clock_timestamp(),
             state = CASE WHEN journal IS NOT NULL THEN 'queued' WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
                 WHEN attempt >= max_attempts THEN 'failed' ELSE 'queued' END,
             finished_at = CASE WHEN journal IS NULL AND (cancel_requested_at IS NOT NULL OR attempt >= max_attempts) THEN clock_timestamp() END
         WHERE state = 'running' AND lease_until < clock_timestamp()
           AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => $2)
         RETURNING id",
        Json(&problem) as _,
        lease.as_secs_f64()
    )
    .fetch_all(&mut *tx)
    .await?;
    let expired = jobs::by_ids(tx, &expired).await?;
    for job in &expired {
        finish::settle(tx, job).await?;
    }
    Ok(expired)
}

/// Cancels what waits for a job that ended otherwise than well, should the finish that had to do it have been lost.
pub async fn cancel_orphans(tx: &mut PgConnection) -> Result<u64, DbError> {
    let problem =
        Problem::permanent("predecessor_failed", "the job this one waits for did not succeed", "Start both again.");
    let orphans = sqlx::query_scalar!(
        "UPDATE jobs j SET state = 'cancelled', finished_at = clock_timestamp(), error = $1
         WHERE j.state = 'queued' AND j.after_job_id IS NOT NULL
           AND (SELECT a.state FROM jobs a WHERE a.id = j.after_job_id) IN ('failed', 'cancelled') RETURNING j.id",
        Json(&problem) as _
    )
    .fetch_all(&mut *tx)
    .await?;
    for job in &jobs::by_ids(tx, &orphans).await? {
        finish::settle(tx, job).await?;
    }
    Ok(orphans.len() as u64)
}

/// Due jobs that nobody was told of lately, noted as told of: their hints are sent again. What somebody else has in hand is
/// passed over.
pub async fn take_undispatched(tx: &mut PgConnection, limit: i64) -> Result<Vec<JobId>, DbError> {
    Ok(sqlx::query_scalar!(
        "WITH due AS (
           SELECT id FROM jobs WHERE state = 'queued' AND next_run_at <= clock_timestamp() AND cancel_requested_at IS NULL
             AND (dispatched_at IS NULL OR dispatched_at < clock_timestamp() - interval '15 s')
           ORDER BY priority DESC, next_run_at, id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED)
         UPDATE jobs SET dispatched_at = clock_timestamp() FROM due WHERE jobs.id = due.id RETURNING jobs.id",
        limit
    )
    .fetch_all(tx)
    .await?)
}

/// Removes what only helped for a moment: spent hints (apalis ships no working vacuum), dead workers' rows, tickets that
/// are over, old login failures and sessions, answers to requests that nobody repeats any more, counts of days gone by.
pub async fn prune(tx: &mut PgConnection, queue: &str) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM apalis.jobs WHERE job_type = $1 AND (
             (status IN ('Done', 'Failed', 'Killed') AND done_at < now() - interval '10 min')
             OR (status IN ('Queued', 'Running') AND lock_at < now() - interval '10 min'))",
        queue
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "DELETE FROM apalis.workers w WHERE last_seen < now() - interval '1 day'
           AND NOT EXISTS (SELECT 1 FROM apalis.jobs j WHERE j.lock_by = w.id)"
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("DELETE FROM workers WHERE last_seen_at < clock_timestamp() - interval '1 day'")
        .execute(&mut *tx)
        .await?;
    tickets::prune(&mut *tx).await?;
    sqlx::query!("DELETE FROM login_failures WHERE at < clock_timestamp() - interval '1 day'")
        .execute(&mut *tx)
        .await?;
    // With their refresh tokens. Until then a used one that comes again is still recognised for what it is.
    sqlx::query!("DELETE FROM sessions WHERE expires_at < clock_timestamp() - interval '7 days'")
        .execute(&mut *tx)
        .await?;
    sqlx::query!(
        "DELETE FROM api_tokens WHERE coalesce(revoked_at, expires_at) < clock_timestamp() - interval '90 days'"
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!("DELETE FROM idempotency_keys WHERE created_at < clock_timestamp() - interval '24 h'")
        .execute(&mut *tx)
        .await?;
    sqlx::query!("DELETE FROM jobs_of_a_day WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - 7")
        .execute(tx)
        .await?;
    Ok(())
}

/// A job whose payload this version cannot read ends alone; the queue goes on (guarantees B12).
pub fn unreadable(job: &JobRow, problem: &str) -> Problem {
    debug_assert!(job.state == JobState::Running);
    Problem::permanent(
        "payload_unreadable",
        format!("the payload of {} job {} cannot be read by this worker: {problem}", job.kind, job.id),
        "Run workers of the version that enqueued it, or enqueue it again.",
    )
}
