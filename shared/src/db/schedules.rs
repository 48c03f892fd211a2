//! Schedules: what is saved without anybody asking, when, and how long it is kept. A deleted one stays as a row.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{DbError, ensure_rows};
use crate::{
    id::{AdminId, CredentialId, ScheduleId, ServerId, ServiceId, TargetId},
    name::Slug,
    schedule::{Covers, Retention, Settings, Verification},
};

#[derive(Debug, Clone)]
pub struct ScheduleRow {
    pub id: ScheduleId,
    pub name: Slug,
    pub covers: Covers,
    /// Of one for a target.
    pub target_id: Option<TargetId>,
    /// It belongs to it; of one for a server, what new databases are given to.
    pub service_id: ServiceId,
    /// Of one for a server.
    pub server_id: Option<ServerId>,
    /// As it was given, and parsed then: what a later version would refuse must not hide the other schedules.
    pub expression: String,
    /// A name of the IANA database, likewise.
    pub zone: String,
    pub settings: Json<Settings>,
    /// None: its saves stay until somebody deletes them.
    pub retention: Option<Json<Retention>>,
    /// None: its saves are verified only when somebody asks.
    pub verification: Option<Json<Verification>>,
    pub paused_at: Option<DateTime<Utc>>,
    /// Every planned moment up to this one has its slot.
    pub planned_until: DateTime<Utc>,
    /// Since when it has been told to be overdue.
    pub overdue_at: Option<DateTime<Utc>>,
    pub created_by: Option<AdminId>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// Which schedules are wanted; what is none does not matter.
#[derive(Debug, Clone, Default)]
pub struct Filter<'a> {
    /// Of these services alone.
    pub services: Option<&'a [ServiceId]>,
    pub target: Option<TargetId>,
    pub server: Option<ServerId>,
    pub covers: Option<Covers>,
    pub paused: Option<bool>,
}

/// What a schedule covers and would lose.
#[derive(Debug, Clone, Copy)]
pub enum Covered {
    Target(TargetId),
    /// It belongs to the service, whatever it covers.
    Service(ServiceId),
    Server(ServerId),
    /// What is newly found on a server is backed up with it.
    Credential(CredentialId),
}

/// Writes a new one. Its plan begins now.
pub async fn insert(conn: &mut PgConnection, row: &ScheduleRow) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO schedules (id, name, covers, target_id, service_id, server_id, expression, zone, settings, retention,
                                verification, paused_at, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        row.id.0,
        row.name.as_str(),
        row.covers.as_str(),
        row.target_id as _,
        row.service_id.0,
        row.server_id as _,
        row.expression,
        row.zone,
        Json(&row.settings.0) as _,
        row.retention as _,
        row.verification as _,
        row.paused_at,
        row.created_by as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One that is not deleted.
pub async fn get(conn: &mut PgConnection, id: ScheduleId) -> Result<Option<ScheduleRow>, DbError> {
    Ok(by_ids(conn, &[id]).await?.pop().filter(|row| row.deleted_at.is_none()))
}

/// One that is not deleted, locked until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: ScheduleId) -> Result<Option<ScheduleRow>, DbError> {
    sqlx::query_scalar!("SELECT id FROM schedules WHERE id = $1 FOR UPDATE", id.0).fetch_optional(&mut *conn).await?;
    get(conn, id).await
}

/// These schedules, in this order, deleted ones too. The one place that lists their columns: what locks or finds schedules
/// answers ids, and reads them here.
pub(super) async fn by_ids(conn: &mut PgConnection, ids: &[ScheduleId]) -> Result<Vec<ScheduleRow>, DbError> {
    Ok(sqlx::query_file_as!(ScheduleRow, "src/db/sql/schedules_by_ids.sql", ids as _).fetch_all(conn).await?)
}

/// Those that are not deleted, by name. Answers the page and the whole count. One that changes meanwhile is shown as it is by
/// then.
pub async fn list(
    conn: &mut PgConnection,
    filter: &Filter<'_>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<ScheduleRow>, i64), DbError> {
    let covers = filter.covers.map(Covers::as_str);
    let ids = sqlx::query_scalar!(
        "SELECT id FROM schedules
         WHERE deleted_at IS NULL AND ($1::uuid[] IS NULL OR service_id = ANY ($1)) AND ($2::uuid IS NULL OR target_id = $2)
             AND ($3::uuid IS NULL OR server_id = $3) AND ($4::text IS NULL OR covers = $4)
             AND ($5::boolean IS NULL OR (paused_at IS NOT NULL) = $5)
         ORDER BY name LIMIT $6 OFFSET $7",
        filter.services as _,
        filter.target as _,
        filter.server as _,
        covers,
        filter.paused,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM schedules
         WHERE deleted_at IS NULL AND ($1::uuid[] IS NULL OR service_id = ANY ($1)) AND ($2::uuid IS NULL OR target_id = $2)
             AND ($3::uuid IS NULL OR server_id = $3) AND ($4::text IS NULL OR covers = $4)
             AND ($5::boolean IS NULL OR (paused_at IS NOT NULL) = $5)",
        filter.services as _,
        filter.target as _,
        filter.server as _,
        covers,
        filter.paused
    )
    .fetch_one(&mut *conn)
    .await?;
    Ok((by_ids(conn, &ids).await?, total))
}

/// Writes what a caller read under [`lock`] and changed: name, expression, zone, settings, retention, verification and pause.
pub async fn update(conn: &mut PgConnection, row: &ScheduleRow) -> Result<(), DbError> {
    let result = sqlx::query!(
        "UPDATE schedules SET name = $2, expression = $3, zone = $4, settings = $5, retention = $6, verification = $7,
                paused_at = $8, updated_at = clock_timestamp()
         WHERE id = $1 AND deleted_at IS NULL",
        row.id.0,
        row.name.as_str(),
        row.expression,
        row.zone,
        Json(&row.settings.0) as _,
        row.retention as _,
        row.verification as _,
        row.paused_at
    )
    .execute(conn)
    .await?;
    ensure_rows("schedules", &result, 1)
}

/// Begins its plan anew from now, where its moments are others than they were: what was planned ahead is taken back.
pub async fn replan(conn: &mut PgConnection, id: ScheduleId) -> Result<(), DbError> {
    take_back(conn, id).await?;
    let result = sqlx::query!(
        "UPDATE schedules SET planned_until = clock_timestamp() WHERE id = $1 AND deleted_at IS NULL",
        id.0
    )
    .execute(conn)
    .await?;
    ensure_rows("schedules", &result, 1)
}

/// Deletes one, under its lock. The row stays, and so do its slots, but for those that are still to come; its saves stay
/// as they are, and nothing keeps or removes them any more.
pub async fn delete(conn: &mut PgConnection, id: ScheduleId) -> Result<(), DbError> {
    take_back(conn, id).await?;
    let result = sqlx::query!(
        "UPDATE schedules SET deleted_at = clock_timestamp(), updated_at = clock_timestamp()
         WHERE id = $1 AND deleted_at IS NULL",
        id.0
    )
    .execute(conn)
    .await?;
    ensure_rows("schedules", &result, 1)
}

/// What is due already is the scheduler's to decide.
async fn take_back(conn: &mut PgConnection, id: ScheduleId) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM schedule_slots WHERE schedule_id = $1 AND state = 'planned' AND at > clock_timestamp()",
        id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The names of the schedules that would lose what they cover, at most ten; ask under the lock of what is to go.
pub async fn covering(conn: &mut PgConnection, what: Covered) -> Result<Vec<Slug>, DbError> {
    let (mut target, mut service, mut server, mut credential) = (None, None, None, None);
    match what {
        Covered::Target(id) => target = Some(id),
        Covered::Service(id) => service = Some(id),
        Covered::Server(id) => server = Some(id),
        Covered::Credential(id) => credential = Some(id.to_string()),
    }
    let rows = sqlx::query!(
        "SELECT name FROM schedules
         WHERE deleted_at IS NULL AND (target_id = $1 OR service_id = $2 OR server_id = $3
             OR settings -> 'discovery' ->> 'backup_credential_id' = $4) ORDER BY name LIMIT 10",
        target as Option<TargetId>,
        service as Option<ServiceId>,
        server as Option<ServerId>,
        credential
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}
