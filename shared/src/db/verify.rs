//! What a verification writes of copies and their save, inside its fenced finish, and its history.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{DbError, ensure_rows};
use crate::{
    id::{JobId, SaveId},
    job::Problem,
    save::CopyState,
    schedule::Depth,
};

/// The save after a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Copies that are good as far as is known, those that were not looked at too.
    pub good: i64,
    pub required: i32,
    /// Whether the save is, all in all.
    pub valid: bool,
}

/// Good, missing or corrupt, as it was found; `epoch` is that of the copy that was read. `false`: it is another copy by
/// now, or on its way out, and what was found says nothing of it.
pub async fn settle_copy(
    conn: &mut PgConnection,
    save: SaveId,
    store: &str,
    epoch: Option<i64>,
    state: CopyState,
    problem: Option<&Problem>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE save_copies SET state = $4, error = $5, updated_at = clock_timestamp()
         WHERE save_id = $1 AND store = $2 AND epoch IS NOT DISTINCT FROM $3 AND state IN ('good', 'missing', 'corrupt')",
        save.0,
        store,
        epoch,
        state.as_str(),
        problem.map(Json) as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What a verification says of its save.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Judgement<'a> {
    /// Whether enough copies were good, and the save is of use as far as was looked.
    pub passed: bool,
    /// The deepest look that it has stood; none: not even its copies were enough.
    pub proven: Option<Depth>,
    /// At which depth it was found to be of no use, and why.
    pub unusable: Option<(Depth, &'a str)>,
}

/// Writes down what was found. The save is valid with enough good copies, unless a verification found it to be of no use or a
/// person says otherwise. `None`: it is not available any more.
pub async fn settle_save(
    conn: &mut PgConnection,
    save: SaveId,
    found: Judgement<'_>,
) -> Result<Option<Standing>, DbError> {
    let good = sqlx::query_scalar!(
        "SELECT count(*) AS \"good!\" FROM save_copies WHERE save_id = $1 AND state = 'good'",
        save.0
    )
    .fetch_one(&mut *conn)
    .await?;
    let row = sqlx::query!(
        "SELECT verified_depth, unusable_depth, unusable_reason FROM saves WHERE id = $1 AND state = 'available' FOR NO KEY UPDATE",
        save.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (mut proven, mut unusable) = (row.verified_depth, row.unusable_depth.zip(row.unusable_reason));
    if let Some((depth, reason)) = found.unusable {
        // What was proven of it before says less than what is known now.
        (proven, unusable) = (found.proven, Some((depth, reason.to_owned())));
    } else if found.passed {
        proven = proven.max(found.proven);
        unusable = unusable.filter(|(depth, _)| found.proven < Some(*depth));
    }
    let (depth, reason) = unusable.unzip();
    let row = sqlx::query!(
        "UPDATE saves SET valid = $2::bigint >= required_copies AND invalid_reason IS NULL AND $6::text IS NULL,
             verified_at = CASE WHEN $3 THEN clock_timestamp() ELSE verified_at END,
             verified_depth = $4, unusable_depth = $5, unusable_reason = $6
         WHERE id = $1 RETURNING required_copies, valid",
        save.0,
        good,
        found.passed,
        proven.map(Depth::as_str),
        depth.map(Depth::as_str),
        reason
    )
    .fetch_one(conn)
    .await?;
    Ok(Some(Standing { good, required: row.required_copies, valid: row.valid }))
}

/// A verification that came to its end.
#[derive(Debug, Clone)]
pub struct NewVerification {
    pub save_id: SaveId,
    pub job_id: JobId,
    pub depth: Depth,
    pub passed: bool,
    pub duration: Duration,
    pub result: serde_json::Value,
}

/// Adds it to the save's history.
pub async fn insert(conn: &mut PgConnection, new: &NewVerification) -> Result<(), DbError> {
    let done = sqlx::query!(
        "INSERT INTO save_verifications (id, save_id, target_id, schedule_id, job_id, depth, passed, duration_ms, result)
         SELECT $1, s.id, s.target_id, s.schedule_id, $3, $4, $5, $6, $7 FROM saves s WHERE s.id = $2",
        uuid::Uuid::now_v7(),
        new.save_id.0,
        new.job_id.0,
        new.depth.as_str(),
        new.passed,
        i64::try_from(new.duration.as_millis()).unwrap_or(i64::MAX),
        new.result
    )
    .execute(conn)
    .await?;
    ensure_rows("save_verifications", &done, 1)
}

/// One of the verifications of a save.
#[derive(Debug, Clone)]
pub struct VerificationRow {
    pub job_id: Option<JobId>,
    pub depth: Depth,
    pub passed: bool,
    pub at: DateTime<Utc>,
    pub duration_ms: i64,
    pub result: Json<serde_json::Value>,
}

/// The latest verifications of a save, the newest first.
pub async fn latest(conn: &mut PgConnection, save: SaveId, limit: i64) -> Result<Vec<VerificationRow>, DbError> {
    Ok(sqlx::query_as!(
        VerificationRow,
        "SELECT job_id, depth, passed, at, duration_ms, result FROM save_verifications WHERE save_id = $1 ORDER BY at DESC LIMIT $2",
        save.0,
        limit
    )
    .fetch_all(conn)
    .await?)
}
