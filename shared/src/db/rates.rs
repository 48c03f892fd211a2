//! How fast restores went: what an expected duration stands on.

use sqlx::PgConnection;

use super::DbError;
use crate::id::{SaveId, ServerId};

/// Raw bytes per second, and how many jobs say so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub bytes_per_s: f64,
    pub jobs: i64,
}

/// Of the last five restores on a server that succeeded at their first attempt.
pub async fn of_restores(conn: &mut PgConnection, server: ServerId) -> Result<Option<Rate>, DbError> {
    let row = sqlx::query!(
        r#"SELECT sum(bytes) AS bytes, sum(seconds) AS seconds, count(*) AS "jobs!" FROM (
             SELECT (result ->> 'raw_bytes')::float8 AS bytes, extract(epoch FROM finished_at - started_at)::float8 AS seconds
             FROM jobs WHERE kind = 'restore' AND state = 'succeeded' AND server_id = $1 AND attempt = 1
               AND result ->> 'raw_bytes' IS NOT NULL ORDER BY id DESC LIMIT 5) last"#,
        server.0
    )
    .fetch_one(conn)
    .await?;
    Ok(rate(row.bytes, row.seconds, row.jobs))
}

/// Of the backup that made a save.
pub async fn of_backup(conn: &mut PgConnection, save: SaveId) -> Result<Option<Rate>, DbError> {
    let row = sqlx::query!(
        "SELECT s.raw_bytes::float8 AS bytes, extract(epoch FROM j.finished_at - j.started_at)::float8 AS seconds
         FROM saves s JOIN jobs j ON j.id = s.job_id WHERE s.id = $1 AND j.state = 'succeeded'",
        save.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.and_then(|row| rate(row.bytes, row.seconds, 1)))
}

fn rate(bytes: Option<f64>, seconds: Option<f64>, jobs: i64) -> Option<Rate> {
    let bytes_per_s = bytes? / seconds?;
    (bytes_per_s.is_finite() && bytes_per_s > 0.0).then_some(Rate { bytes_per_s, jobs })
}
