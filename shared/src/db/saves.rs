//! Saves and their copies: insert, read, list, and the steps of their life.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{Counted, DbError, ensure_rows, span::Span};
use crate::{
    drift::Suspicion,
    id::{AdminId, JobId, SaveId, ScheduleId, ServiceId, TargetId},
    job::Problem,
    manifest::{Encoding, Manifest, Sealing},
    save::{CopyState, Mode, Origin, SaveState, Scope},
    schedule::Depth,
};

/// A save to insert, pending until its job has succeeded.
#[derive(Debug, Clone)]
pub struct NewSave {
    pub id: SaveId,
    /// The job that makes it: added after it, in the same transaction.
    pub job_id: JobId,
    pub target_id: TargetId,
    pub service_id: ServiceId,
    pub scope: Scope,
    pub origin: Origin,
    pub mode: Mode,
    pub stores: Vec<String>,
    pub required_copies: i32,
    pub requested_by: Option<AdminId>,
    /// The schedule that asks for it.
    pub schedule_id: Option<ScheduleId>,
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
    /// What a verification found that makes it of no use; none: nothing did.
    pub unusable_reason: Option<String>,
    pub trusted: bool,
    pub suspicious: bool,
    /// In what it is, or was until it was accepted, out of line with those before it.
    pub suspicions: Option<Json<Vec<Suspicion>>>,
    pub pinned: bool,
    pub verified_at: Option<DateTime<Utc>>,
    /// The deepest verification that it has passed.
    pub verified_depth: Option<Depth>,
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

/// Adds a pending save and its copies, and gives it the target's next version (under the target's row lock). One statement, as
/// it stands in the way of every enqueue.
pub async fn insert(conn: &mut PgConnection, save: &NewSave) -> Result<(), DbError> {
    let done = sqlx::query!(
        "WITH numbered AS (UPDATE targets SET last_version = last_version + 1 WHERE id = $2 RETURNING last_version),
             saved AS (
               INSERT INTO saves (id, target_id, service_id, version, scope, origin, mode, required_copies, requested_by, note,
                   job_id, schedule_id)
               SELECT $1, $2, $3, last_version, $4, $5, $6, $7, $8, $9, $10, $11 FROM numbered RETURNING id)
         INSERT INTO save_copies (save_id, store) SELECT id, unnest($12::text[]) FROM saved",
        save.id.0,
        save.target_id.0,
        save.service_id.0,
        save.scope.as_str(),
        save.origin.as_str(),
        save.mode.as_str(),
        save.required_copies,
        save.requested_by as _,
        save.note,
        save.job_id.0,
        save.schedule_id as _,
        &save.stores
    )
    .execute(conn)
    .await?;
    ensure_rows("save_copies", &done, save.stores.len() as u64)
}

/// As [`insert`], of many, also several of one target, in as many statements.
pub async fn insert_all(tx: &mut PgConnection, saves: &[&NewSave]) -> Result<(), DbError> {
    let targets: Vec<_> = saves.iter().map(|save| save.target_id).collect();
    // In one order, whoever comes: two schedulers with targets in common would otherwise wait for each other.
    sqlx::query!("SELECT id FROM targets WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE", &targets as _)
        .fetch_all(&mut *tx)
        .await?;
    let raised = sqlx::query!(
        r#"UPDATE targets t SET last_version = t.last_version + w.n
         FROM (SELECT id, count(*)::int AS n FROM unnest($1::uuid[]) AS id GROUP BY id) w
         WHERE t.id = w.id RETURNING t.id, t.last_version - w.n AS "before!""#,
        &targets as _
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut versions: HashMap<TargetId, i32> = raised.into_iter().map(|row| (row.id, row.before)).collect();
    let mut given = Vec::with_capacity(saves.len());
    for target in &targets {
        let version = versions.get_mut(target).ok_or(DbError::Rows { table: "targets", expected: 1, actual: 0 })?;
        *version += 1;
        given.push(*version);
    }
    let ids: Vec<_> = saves.iter().map(|save| save.id.0).collect();
    let services: Vec<_> = saves.iter().map(|save| save.service_id.0).collect();
    let scopes: Vec<_> = saves.iter().map(|save| save.scope.as_str().to_owned()).collect();
    let origins: Vec<_> = saves.iter().map(|save| save.origin.as_str().to_owned()).collect();
    let modes: Vec<_> = saves.iter().map(|save| save.mode.as_str().to_owned()).collect();
    let required: Vec<_> = saves.iter().map(|save| save.required_copies).collect();
    let requested: Vec<_> = saves.iter().map(|save| save.requested_by.map(|id| id.0)).collect();
    let notes: Vec<_> = saves.iter().map(|save| save.note.clone()).collect();
    let jobs: Vec<_> = saves.iter().map(|save| save.job_id.0).collect();
    let schedules: Vec<_> = saves.iter().map(|save| save.schedule_id.map(|id| id.0)).collect();
    sqlx::query!(
        "INSERT INTO saves (id, target_id, service_id, version, scope, origin, mode, required_copies, requested_by, note,
             job_id, schedule_id)
         SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::text[], $7::text[], $8::int[], $9::uuid[], $10::text[],
             $11::uuid[], $12::uuid[])",
        &ids,
        &targets as _,
        &services,
        &given,
        &scopes,
        &origins,
        &modes,
        &required,
        &requested as _,
        &notes,
        &jobs,
        &schedules as _
    )
    .execute(&mut *tx)
    .await?;
    let copies = || saves.iter().flat_map(|save| save.stores.iter().map(|store| (save.id.0, store.clone())));
    let (of, stores): (Vec<_>, Vec<_>) = copies().unzip();
    sqlx::query!("INSERT INTO save_copies (save_id, store) SELECT * FROM unnest($1::uuid[], $2::text[])", &of, &stores)
        .execute(tx)
        .await?;
    Ok(())
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

/// What the save is nobody known here can vouch for: restoring it asks for more.
pub async fn distrust(conn: &mut PgConnection, save: SaveId) -> Result<(), DbError> {
    let done = sqlx::query!("UPDATE saves SET trusted = false WHERE id = $1", save.0).execute(conn).await?;
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
