//! Which saves are to be verified now, as their schedules say; and what was asked for.

use sqlx::PgConnection;

use super::DbError;
use crate::{
    id::{JobId, SaveId, ScheduleId, TargetId},
    schedule::Depth,
};

/// A verification that a schedule wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueProof {
    pub schedule_id: ScheduleId,
    pub target_id: TargetId,
    /// The newest save of the schedule and the target that is full, available and valid.
    pub save_id: SaveId,
    pub depth: Depth,
}

/// What is due: per schedule and target the deepest verification whose time has come, of the newest save, where none of that
/// save is queued or running. One that came to nothing is due again a day later.
pub async fn due(conn: &mut PgConnection, limit: i64) -> Result<Vec<DueProof>, DbError> {
    Ok(sqlx::query_file_as!(DueProof, "src/db/sql/proofs_due.sql", limit).fetch_all(conn).await?)
}

/// Notes that it was asked for.
pub async fn asked(conn: &mut PgConnection, proof: &DueProof, job: JobId) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO schedule_proofs (schedule_id, target_id, depth, job_id) VALUES ($1, $2, $3, $4)
         ON CONFLICT (schedule_id, target_id, depth) DO UPDATE SET job_id = excluded.job_id, asked_at = clock_timestamp()",
        proof.schedule_id.0,
        proof.target_id.0,
        proof.depth.as_str(),
        job.0
    )
    .execute(conn)
    .await?;
    Ok(())
}
