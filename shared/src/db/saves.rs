//! Saves and their copies: insert, read, list, and the steps of their life.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{Counted, DbError, ensure_rows, span::Span};
use crate::{
    id::{AdminId, JobId, SaveId, ServiceId, TargetId},
    job::Problem,
    manifest::{Encoding, Manifest, Sealing},
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
#[derive(Debug, Clone)]
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
    /// Why a person called it invalid; none: nobody did.
    pub invalid_reason: Option<String>,
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
#[derive(Debug, Clone)]
pub struct CopyRow {
    pub save_id: SaveId,
    pub store: String,
    pub state: CopyState,
    pub epoch: Option<i64>,
    pub stored_bytes: Option<i64>,
    /// None: as the save's manifest says (format 1).
    pub encodings: Option<Json<Vec<Encoding>>>,
    /// None: it is not encrypted, or was made before this was written down.
    pub sealing: Option<Json<Sealing>>,
    pub error: Option<Json<Problem>>,
    pub updated_at: DateTime<Utc>,
}

/// What is written down of a good copy.
#[derive(Debug, Clone, Copy)]
pub struct GoodFacts<'a> {
    /// Of all its objects.
    pub stored_bytes: u64,
    pub encodings: &'a [Encoding],
    /// To whom it is encrypted; none if it is not.
    pub sealing: Option<&'a Sealing>,
}

impl GoodFacts<'_> {
    /// As a column takes it.
    pub(super) fn bytes(&self) -> i64 {
        i64::try_from(self.stored_bytes).unwrap_or(i64::MAX)
    }
}

/// Which saves a list shows. `None` does not restrict.
#[derive(Debug, Clone, Default)]
pub struct SaveFilter {
    pub service_ids: Option<Vec<ServiceId>>,
    pub service_id: Option<ServiceId>,
    pub target_id: Option<TargetId>,
    pub state: Option<SaveState>,
    pub valid: Option<bool>,
    pub suspicious: Option<bool>,
    pub pinned: Option<bool>,
    pub origin: Option<Origin>,
    /// Oldest first; else newest first.
    pub oldest_first: bool,
}

impl SaveFilter {
    /// Whether the totals of `save_counts` tell how many there are.
    fn is_counted(&self) -> bool {
        self.pinned.is_none() && self.origin.is_none()
    }
}

/// Adds a pending save and its copies, and gives it the target's next version (under the target's row lock).
pub async fn insert(conn: &mut PgConnection, save: &NewSave) -> Result<i32, DbError> {
    let version = sqlx::query_scalar!(
        "UPDATE targets SET last_version = last_version + 1 WHERE id = $1 RETURNING last_version",
        save.target_id.0
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO saves (id, target_id, service_id, version, scope, origin, mode, required_copies, requested_by, note)
         VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)",
        save.id.0,
        save.target_id.0,
        save.service_id.0,
        version,
        save.scope.as_str(),
        save.origin.as_str(),
        save.mode.as_str(),
        save.required_copies,
        save.requested_by as _,
        save.note
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("INSERT INTO save_copies (save_id, store) SELECT $1, unnest($2::text[])", save.id.0, &save.stores)
        .execute(conn)
        .await?;
    Ok(version)
}

/// Lets a save expire so many seconds from now.
pub async fn set_life(conn: &mut PgConnection, save: SaveId, seconds: f64) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE saves SET expires_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1",
        save.0,
        seconds
    )
    .execute(conn)
    .await?;
    ensure_rows("saves", &done, 1)
}

/// Names the job that makes the save: written after the job, in the same transaction.
pub async fn set_job(conn: &mut PgConnection, save: SaveId, job: JobId) -> Result<(), DbError> {
    let done = sqlx::query!("UPDATE saves SET job_id = $2 WHERE id = $1 AND state = 'pending'", save.0, job.0)
        .execute(conn)
        .await?;
    ensure_rows("saves", &done, 1)
}

/// One save.
pub async fn get(conn: &mut PgConnection, id: SaveId) -> Result<Option<SaveRow>, DbError> {
    Ok(by_ids(conn, &[id], true).await?.pop())
}

/// One save, locked against changes until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: SaveId) -> Result<Option<SaveRow>, DbError> {
    sqlx::query_scalar!("SELECT id FROM saves WHERE id = $1 FOR NO KEY UPDATE", id.0)
        .fetch_optional(&mut *conn)
        .await?;
    get(conn, id).await
}

/// One save, for whoever is about to enqueue a job that reads it: its state stays until the transaction ends, so that a
/// deletion sees either the job or an earlier end of it. Readers do not wait for each other.
pub async fn lock_to_read(conn: &mut PgConnection, id: SaveId) -> Result<Option<SaveRow>, DbError> {
    sqlx::query_scalar!("SELECT id FROM saves WHERE id = $1 FOR SHARE", id.0).fetch_optional(&mut *conn).await?;
    get(conn, id).await
}

/// These saves, in this order, their manifests only where they are wanted: those of large databases are megabytes. The
/// one place that lists the columns of a save.
async fn by_ids(conn: &mut PgConnection, ids: &[SaveId], manifests: bool) -> Result<Vec<SaveRow>, DbError> {
    Ok(sqlx::query_file_as!(SaveRow, "src/db/sql/saves_by_ids.sql", ids as _, manifests).fetch_all(conn).await?)
}

/// A save's copies, by store.
pub async fn copies(conn: &mut PgConnection, id: SaveId) -> Result<Vec<CopyRow>, DbError> {
    Ok(sqlx::query_as!(
        CopyRow,
        "SELECT save_id, store, state, epoch, stored_bytes, encodings, sealing, error, updated_at FROM save_copies
         WHERE save_id = $1 ORDER BY store",
        id.0
    )
    .fetch_all(conn)
    .await?)
}

/// The statement of [`list`], for whoever looks at its plans.
pub const PAGE: &str = include_str!("sql/saves_page.sql");

/// A page of saves in the order of their creation, without their manifests, and how many there are: exactly, or counted
/// to 10,000 where the filter names what no total is kept of. A save that changes meanwhile is shown as it is by then.
pub async fn list(
    conn: &mut PgConnection,
    filter: &SaveFilter,
    limit: i64,
    offset: i64,
) -> Result<(Vec<SaveRow>, Counted), DbError> {
    let mut span = Span { limit, offset, from_end: false };
    if filter.is_counted() && Span::is_far(offset) {
        let (_, total) = page(conn, filter, Span { limit: 0, offset: 0, from_end: false }).await?;
        span = Span::of(limit, offset, total);
    }
    let (mut ids, total) = page(conn, filter, span).await?;
    if span.from_end {
        ids.reverse();
    }
    let total = if filter.is_counted() { Counted::exactly(total) } else { Counted::of(total) };
    Ok((by_ids(conn, &ids, false).await?, total))
}

/// The ids of these rows in the order they are read in, and the total.
async fn page(conn: &mut PgConnection, filter: &SaveFilter, span: Span) -> Result<(Vec<SaveId>, i64), DbError> {
    // Not checked by the macros, which keep a statement prepared: PostgreSQL would come to one plan for all filters.
    Ok(sqlx::query_as(PAGE)
        .bind(filter.service_ids.as_deref())
        .bind(filter.service_id)
        .bind(filter.target_id)
        .bind(filter.state.map(SaveState::as_str))
        .bind(filter.valid)
        .bind(filter.suspicious)
        .bind(filter.pinned)
        .bind(filter.origin.map(Origin::as_str))
        .bind(span.limit)
        .bind(span.offset)
        .bind(filter.oldest_first != span.from_end)
        .bind((!filter.is_counted()).then_some(Counted::BOUND + 1))
        .persistent(false)
        .fetch_one(conn)
        .await?)
}

/// Pending → available, inside the fenced finish of the backup.
pub async fn make_available(
    conn: &mut PgConnection,
    id: SaveId,
    manifest: &Manifest,
    raw: u64,
    stored: u64,
) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE saves SET state = 'available', available_at = clock_timestamp(), manifest = $2, raw_bytes = $3, stored_bytes = $4,
             warnings = $5, error = NULL WHERE id = $1 AND state = 'pending'",
        id.0,
        Json(manifest) as _,
        i64::try_from(raw).unwrap_or(i64::MAX),
        i64::try_from(stored).unwrap_or(i64::MAX),
        Json(&manifest.warnings) as _
    )
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
    outcome: Result<GoodFacts<'_>, &Problem>,
) -> Result<(), DbError> {
    let (state, facts, error) = match outcome {
        Ok(facts) => (CopyState::Good, Some(facts), None),
        Err(problem) => (CopyState::Missing, None, Some(Json(problem))),
    };
    let done = sqlx::query!(
        "UPDATE save_copies SET state = $3, epoch = $4, stored_bytes = $5, encodings = $6, sealing = $7, error = $8, updated_at = clock_timestamp()
         WHERE save_id = $1 AND store = $2 AND state = 'uploading'",
        id.0,
        store,
        state.as_str(),
        epoch,
        facts.map(|facts| facts.bytes()),
        facts.map(|facts| Json(facts.encodings)) as _,
        facts.and_then(|facts| facts.sealing).map(Json) as _,
        error as _
    )
    .execute(conn)
    .await?;
    ensure_rows("save_copies", &done, 1)
}
