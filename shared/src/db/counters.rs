//! Totals of saves and jobs. Triggers write a line for every change; here the lines are added up, so that summing them
//! stays cheap.

use sqlx::PgConnection;

use super::DbError;

/// Adds up what changed since the last time. For the sweeper, of which there is one at a time: two of them would each
/// take lines that the other counts. Readers see the lines before or after, and the same sums.
pub async fn settle(tx: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query!(
        "WITH due AS (SELECT DISTINCT service_id, target_id, state, valid, suspicious FROM save_counts WHERE NOT settled),
         gone AS (DELETE FROM save_counts c USING due d
             WHERE (c.service_id, c.target_id, c.state, c.valid, c.suspicious) = (d.service_id, d.target_id, d.state, d.valid, d.suspicious)
             RETURNING c.service_id, c.target_id, c.state, c.valid, c.suspicious, c.saves, c.stored_bytes)
         INSERT INTO save_counts (service_id, target_id, state, valid, suspicious, saves, stored_bytes, settled)
         SELECT service_id, target_id, state, valid, suspicious, sum(saves), sum(stored_bytes), true
         FROM gone GROUP BY 1, 2, 3, 4, 5 HAVING sum(saves) <> 0 OR sum(stored_bytes) <> 0"
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "WITH due AS (SELECT DISTINCT service_id, target_id, kind, state FROM job_counts WHERE NOT settled),
         gone AS (DELETE FROM job_counts c USING due d
             WHERE (c.service_id, c.target_id, c.kind, c.state) = (d.service_id, d.target_id, d.kind, d.state)
             RETURNING c.service_id, c.target_id, c.kind, c.state, c.jobs)
         INSERT INTO job_counts (service_id, target_id, kind, state, jobs, settled)
         SELECT service_id, target_id, kind, state, sum(jobs), true FROM gone GROUP BY 1, 2, 3, 4 HAVING sum(jobs) <> 0"
    )
    .execute(tx)
    .await?;
    Ok(())
}
