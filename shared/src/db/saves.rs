//! Saves and their copies: insert, read, list, and the steps of their life.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, types::Json};

use super::{Counted, DbError, ensure_rows};
use crate::{
    id::{AdminId, JobId, SaveId, ServiceId, TargetId},
    job::Problem,
    manifest::Manifest,
    save::{CopyState, Mode, Origin, SaveState, Scope},
};

/// A save to insert, pending until its job has succeeded.
#[derive(Debug, Clone)]
pub struct NewSave {
    pub id: SaveId,
    pub target_id: TargetId,
    pub service_id: ServiceId,
    pub scope: Scope,
    pub origin: Origin,
    pub mode: Mode,
    pub stores: Vec<String>,
    pub required_copies: i32,
    pub requested_by: Option<AdminId>,
    pub note: String,
}

/// A save as it stands.
#[derive(Debug, Clone, FromRow)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of design §4, as the row has them")]
pub struct SaveRow {
    pub id: SaveId,
    pub target_id: TargetId,
    pub service_id: ServiceId,
    pub version: i32,
    pub state: SaveState,
    pub scope: Scope,
    pub origin: Origin,
    pub mode: Mode,
    pub required_copies: i32,
    pub job_id: Option<JobId>,
    pub requested_by: Option<AdminId>,
    pub note: String,
    pub raw_bytes: Option<i64>,
    pub stored_bytes: Option<i64>,
    pub manifest: Option<Json<Manifest>>,
    pub warnings: Json<Vec<String>>,
    pub error: Option<Json<Problem>>,
    pub valid: bool,
    pub trusted: bool,
    pub suspicious: bool,
    pub pinned: bool,
    pub verified_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub available_at: Option<DateTime<Utc>>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A save in one store.
#[derive(Debug, Clone, FromRow)]
pub struct CopyRow {
    pub save_id: SaveId,
    pub store: String,
    pub state: CopyState,
    pub epoch: Option<i64>,
    pub stored_bytes: Option<i64>,
    pub error: Option<Json<Problem>>,
    pub updated_at: DateTime<Utc>,
}

/// Which saves a list shows. `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct SaveFilter {
    pub service_ids: Option<Vec<ServiceId>>,
    pub service_id: Option<ServiceId>,
    pub target_id: Option<TargetId>,
    pub state: Option<SaveState>,
    pub valid: Option<bool>,
}

/// Adds a pending save and its copies, and gives it the target's next version (under the target's row lock).
pub async fn insert(conn: &mut PgConnection, save: &NewSave) -> Result<i32, DbError> {
    let version: i32 =
        sqlx::query_scalar("UPDATE targets SET last_version = last_version + 1 WHERE id = $1 RETURNING last_version")
            .bind(save.target_id)
            .fetch_one(&mut *conn)
            .await?;
    sqlx::query(
        "INSERT INTO saves (id, target_id, service_id, version, scope, origin, mode, required_copies, requested_by, note)
         VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
    )
    .bind(save.id)
    .bind(save.target_id)
    .bind(save.service_id)
    .bind(version)
    .bind(save.scope.as_str())
    .bind(save.origin.as_str())
    .bind(save.mode.as_str())
    .bind(save.required_copies)
    .bind(save.requested_by)
    .bind(&save.note)
    .execute(&mut *conn)
    .await?;
    sqlx::query("INSERT INTO save_copies (save_id, store) SELECT $1, unnest($2::text[])")
        .bind(save.id)
        .bind(&save.stores)
        .execute(conn)
        .await?;
    Ok(version)
}

/// Names the job that makes the save: written after the job, in the same transaction.
pub async fn set_job(conn: &mut PgConnection, save: SaveId, job: JobId) -> Result<(), DbError> {
    let done = sqlx::query("UPDATE saves SET job_id = $2 WHERE id = $1 AND state = 'pending'")
        .bind(save)
        .bind(job)
        .execute(conn)
        .await?;
    ensure_rows("saves", &done, 1)
}

/// One save.
pub async fn get(conn: &mut PgConnection, id: SaveId) -> Result<Option<SaveRow>, DbError> {
    Ok(sqlx::query_as("SELECT * FROM saves WHERE id = $1").bind(id).fetch_optional(conn).await?)
}

/// A save's copies, by store.
pub async fn copies(conn: &mut PgConnection, id: SaveId) -> Result<Vec<CopyRow>, DbError> {
    Ok(sqlx::query_as("SELECT * FROM save_copies WHERE save_id = $1 ORDER BY store").bind(id).fetch_all(conn).await?)
}

/// A page of saves, newest first, and how many there are (counted to 10,000).
pub async fn list(
    conn: &mut PgConnection,
    filter: &SaveFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<SaveRow>, Counted), DbError> {
    let rows = sqlx::query_as(
        "SELECT * FROM saves
         WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR service_id = $2)
           AND ($3::uuid IS NULL OR target_id = $3) AND ($4::text IS NULL OR state = $4) AND ($5::bool IS NULL OR valid = $5)
         ORDER BY id DESC LIMIT $6 OFFSET $7",
    )
    .bind(&filter.service_ids)
    .bind(filter.service_id)
    .bind(filter.target_id)
    .bind(filter.state.map(SaveState::as_str))
    .bind(filter.valid)
    .bind(limit)
    .bind(offset)
    .fetch_all(&mut *conn)
    .await?;
    let total: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT 1 FROM saves
         WHERE ($1::uuid[] IS NULL OR service_id = ANY($1)) AND ($2::uuid IS NULL OR service_id = $2)
           AND ($3::uuid IS NULL OR target_id = $3) AND ($4::text IS NULL OR state = $4) AND ($5::bool IS NULL OR valid = $5)
         LIMIT $6) counted",
    )
    .bind(&filter.service_ids)
    .bind(filter.service_id)
    .bind(filter.target_id)
    .bind(filter.state.map(SaveState::as_str))
    .bind(filter.valid)
    .bind(Counted::BOUND + 1)
    .fetch_one(conn)
    .await?;
    Ok((rows, Counted::of(total)))
}

/// Pending → available, inside the fenced finish of the backup.
pub async fn make_available(
    conn: &mut PgConnection,
    id: SaveId,
    manifest: &Manifest,
    raw: u64,
    stored: u64,
) -> Result<(), DbError> {
    let done = sqlx::query(
        "UPDATE saves SET state = 'available', available_at = clock_timestamp(), manifest = $2, raw_bytes = $3, stored_bytes = $4,
             warnings = $5, error = NULL WHERE id = $1 AND state = 'pending'",
    )
    .bind(id)
    .bind(Json(manifest))
    .bind(i64::try_from(raw).unwrap_or(i64::MAX))
    .bind(i64::try_from(stored).unwrap_or(i64::MAX))
    .bind(Json(&manifest.warnings))
    .execute(conn)
    .await?;
    ensure_rows("saves", &done, 1)
}

/// Uploading → good or missing, inside the fenced finish of the backup.
pub async fn settle_copy(
    conn: &mut PgConnection,
    id: SaveId,
    store: &str,
    epoch: i64,
    outcome: Result<u64, &Problem>,
) -> Result<(), DbError> {
    let (state, bytes, error) = match outcome {
        Ok(bytes) => (CopyState::Good, Some(i64::try_from(bytes).unwrap_or(i64::MAX)), None),
        Err(problem) => (CopyState::Missing, None, Some(Json(problem))),
    };
    let done = sqlx::query(
        "UPDATE save_copies SET state = $3, epoch = $4, stored_bytes = $5, error = $6, updated_at = clock_timestamp()
         WHERE save_id = $1 AND store = $2 AND state = 'uploading'",
    )
    .bind(id)
    .bind(store)
    .bind(state.as_str())
    .bind(epoch)
    .bind(bytes)
    .bind(error)
    .execute(conn)
    .await?;
    ensure_rows("save_copies", &done, 1)
}

/// The name of a service, for events.
pub async fn service_name(conn: &mut PgConnection, id: Option<ServiceId>) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar("SELECT name FROM services WHERE id = $1").bind(id).fetch_optional(conn).await?)
}
