//! Databases that restores put aside: until an undo swaps them back, or their time is over.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, ensure_rows};
use crate::{
    id::{JobId, KeptId, ServerId, TargetId},
    name::DatabaseName,
};

/// What became of a database that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Swapped back.
    Restored,
    /// Dropped, as its time was over.
    Dropped,
    /// It was not there any more.
    Gone,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Restored => "restored",
            Self::Dropped => "dropped",
            Self::Gone => "gone",
        }
    }
}

/// A database to keep.
#[derive(Debug, Clone)]
pub struct NewKept {
    pub id: KeptId,
    pub target_id: TargetId,
    /// The job that put it aside.
    pub job_id: JobId,
    /// The name it had.
    pub database: DatabaseName,
    /// The name it has.
    pub name: DatabaseName,
    pub oid: u32,
    pub keep_s: u32,
}

/// A database that is kept, or was.
#[derive(Debug, Clone)]
pub struct KeptRow {
    pub id: KeptId,
    pub target_id: TargetId,
    pub server_id: ServerId,
    pub job_id: JobId,
    pub database: DatabaseName,
    pub name: DatabaseName,
    pub oid: i64,
    pub is_kept: bool,
    pub keep_until: DateTime<Utc>,
}

/// Adds one, inside the fenced finish of the job that put it aside. Until when it is kept.
pub async fn insert(conn: &mut PgConnection, kept: &NewKept) -> Result<DateTime<Utc>, DbError> {
    Ok(sqlx::query_scalar!(
        "INSERT INTO kept_databases (id, target_id, server_id, job_id, database, name, oid, keep_until)
         SELECT $1, t.id, t.server_id, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7)
         FROM targets t WHERE t.id = $2 RETURNING keep_until",
        kept.id.0,
        kept.target_id.0,
        kept.job_id.0,
        kept.database.as_str(),
        kept.name.as_str(),
        i64::from(kept.oid),
        f64::from(kept.keep_s)
    )
    .fetch_one(conn)
    .await?)
}

/// One of them.
pub async fn get(conn: &mut PgConnection, id: KeptId) -> Result<Option<KeptRow>, DbError> {
    Ok(sqlx::query_as!(
        KeptRow,
        r#"SELECT id, target_id, server_id, job_id, database, name, oid, state = 'kept' AS "is_kept!", keep_until
           FROM kept_databases WHERE id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// What a job put aside.
pub async fn of_job(conn: &mut PgConnection, job: JobId) -> Result<Option<KeptRow>, DbError> {
    let id = sqlx::query_scalar!("SELECT id FROM kept_databases WHERE job_id = $1", job.0)
        .fetch_optional(&mut *conn)
        .await?;
    match id {
        Some(id) => get(conn, id).await,
        None => Ok(None),
    }
}

/// Kept → its end, inside the fenced finish of the job that did it.
pub async fn end(conn: &mut PgConnection, id: KeptId, how: End, by: JobId) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE kept_databases SET state = $2, ended_at = clock_timestamp(), ended_by = $3 WHERE id = $1 AND state = 'kept'",
        id.0,
        how.as_str(),
        by.0
    )
    .execute(conn)
    .await?;
    ensure_rows("kept_databases", &done, 1)
}

/// Ends the time of those that are kept still: nobody will want them.
pub async fn let_go(conn: &mut PgConnection, ids: &[KeptId]) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE kept_databases SET keep_until = least(keep_until, clock_timestamp()) WHERE id = ANY ($1) AND state = 'kept'",
        ids as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Those whose time is over and which nobody is about to drop or to swap back; each is tried once an hour.
pub async fn take_due(conn: &mut PgConnection, limit: i64) -> Result<Vec<(KeptId, TargetId)>, DbError> {
    let rows = sqlx::query!(
        "UPDATE kept_databases SET tried_at = clock_timestamp() WHERE id IN (
             SELECT id FROM kept_databases WHERE state = 'kept' AND keep_until < clock_timestamp()
               AND (tried_at IS NULL OR tried_at < clock_timestamp() - interval '1 hour')
             ORDER BY keep_until LIMIT $1 FOR UPDATE SKIP LOCKED)
         RETURNING id, target_id",
        limit
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.target_id)).collect())
}
