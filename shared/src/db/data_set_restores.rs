//! Restores of data sets: how far each is, and where each of its targets stands.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::{DbError, ensure_rows};
use crate::{
    data_set::{Doing, MemberState, RestoreState},
    id::{AdminId, DatasetId, GroupId, JobId, KeptId, SaveId, ServiceId, TargetId},
    job::{JobState, Problem},
    name::{DatabaseName, Slug},
    server::Engine,
};

/// One that is about to begin.
#[derive(Debug, Clone)]
pub struct NewRestore {
    pub group_id: GroupId,
    pub data_set_id: DatasetId,
    pub name: Slug,
    pub dry_run: bool,
    /// Whether what is there is saved first.
    pub safety: bool,
    /// Seconds that what makes way is kept; an hour or more.
    pub keep_old_s: i32,
    pub requested_by: Option<AdminId>,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
}

#[derive(Debug, Clone)]
pub struct RestoreRow {
    pub group_id: GroupId,
    /// None: the data set was deleted since.
    pub data_set_id: Option<DatasetId>,
    pub name: Slug,
    pub state: RestoreState,
    pub dry_run: bool,
    pub safety: bool,
    pub keep_old_s: i32,
    /// The jobs that purge the services' queues.
    pub purges: Vec<JobId>,
    pub problem: Option<Json<Problem>>,
    pub requested_by: Option<AdminId>,
    pub request_id: Option<String>,
    pub trace_id: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The database of one target, and its latest job.
#[derive(Debug, Clone)]
pub struct MemberRow {
    pub position: i32,
    pub target_id: TargetId,
    pub target: Slug,
    pub service_id: ServiceId,
    pub service: Slug,
    pub engine: Engine,
    pub database: DatabaseName,
    pub save_id: SaveId,
    pub state: MemberState,
    pub doing: Option<Doing>,
    pub job_id: Option<JobId>,
    pub job_state: Option<JobState>,
    /// How often it was begun again because its worker died.
    pub tries: i32,
    pub incoming_id: Option<KeptId>,
    pub outgoing_id: Option<KeptId>,
    pub problem: Option<Json<Problem>>,
}

/// Writes one with the saves that the data set holds now.
pub async fn insert(conn: &mut PgConnection, new: &NewRestore) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO data_set_restores (group_id, data_set_id, name, dry_run, safety, keep_old_s, requested_by, request_id, trace_id)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        new.group_id.0,
        new.data_set_id.0,
        new.name.as_str(),
        new.dry_run,
        new.safety,
        new.keep_old_s,
        new.requested_by as _,
        new.request_id,
        new.trace_id
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO data_set_members (group_id, position, target_id, save_id)
         SELECT $1, position, target_id, save_id FROM data_set_saves WHERE data_set_id = $2",
        new.group_id.0,
        new.data_set_id.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One of them.
pub async fn get(conn: &mut PgConnection, id: GroupId) -> Result<Option<RestoreRow>, DbError> {
    Ok(sqlx::query_as!(
        RestoreRow,
        r#"SELECT group_id, data_set_id, name, state, dry_run, safety, keep_old_s, purges AS "purges: Vec<JobId>", problem,
               requested_by, request_id, trace_id, created_at, updated_at, finished_at
           FROM data_set_restores WHERE group_id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// One of them, locked until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: GroupId) -> Result<Option<RestoreRow>, DbError> {
    let found = sqlx::query_scalar!("SELECT state FROM data_set_restores WHERE group_id = $1 FOR UPDATE", id.0)
        .fetch_optional(&mut *conn)
        .await?;
    if found.is_none() { Ok(None) } else { get(conn, id).await }
}

/// Of one data set, or of all, the newest first. Answers the page and the whole count.
pub async fn list(
    conn: &mut PgConnection,
    of: Option<DatasetId>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<RestoreRow>, i64), DbError> {
    let rows = sqlx::query_as!(
        RestoreRow,
        r#"SELECT group_id, data_set_id, name, state, dry_run, safety, keep_old_s, purges AS "purges: Vec<JobId>", problem,
               requested_by, request_id, trace_id, created_at, updated_at, finished_at
           FROM data_set_restores WHERE $1::uuid IS NULL OR data_set_id = $1
           ORDER BY group_id DESC LIMIT $2 OFFSET $3"#,
        of as _,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        r#"SELECT count(*) AS "total!" FROM data_set_restores WHERE $1::uuid IS NULL OR data_set_id = $1"#,
        of as _
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// Its targets, in the order in which they are swapped in.
pub async fn members(conn: &mut PgConnection, id: GroupId) -> Result<Vec<MemberRow>, DbError> {
    Ok(sqlx::query_as!(
        MemberRow,
        r#"SELECT m.position, m.target_id, t.name AS target, t.service_id, v.name AS service, r.engine, t.database,
               m.save_id, m.state, m.doing, m.job_id,
               j.state AS "job_state?", m.tries, m.incoming_id, m.outgoing_id, m.problem
           FROM data_set_members m JOIN targets t ON t.id = m.target_id JOIN services v ON v.id = t.service_id
               JOIN servers r ON r.id = t.server_id LEFT JOIN jobs j ON j.id = m.job_id
           WHERE m.group_id = $1 ORDER BY m.position"#,
        id.0
    )
    .fetch_all(conn)
    .await?)
}

/// Writes where a target stands.
pub async fn set_member(conn: &mut PgConnection, id: GroupId, member: &MemberRow) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE data_set_members SET state = $3, doing = $4, job_id = $5, incoming_id = $6, outgoing_id = $7, problem = $8,
             tries = $9
         WHERE group_id = $1 AND position = $2",
        id.0,
        member.position,
        member.state.as_str(),
        member.doing.map(Doing::as_str),
        member.job_id as _,
        member.incoming_id as _,
        member.outgoing_id as _,
        member.problem as _,
        member.tries
    )
    .execute(conn)
    .await?;
    ensure_rows("data_set_members", &done, 1)
}

/// Writes how far it is. What goes on has not ended.
pub async fn set_state(conn: &mut PgConnection, row: &RestoreRow) -> Result<(), DbError> {
    let purges: Vec<_> = row.purges.iter().map(|job| job.0).collect();
    let done = sqlx::query!(
        "UPDATE data_set_restores SET state = $2, purges = $3, problem = $4, updated_at = clock_timestamp(),
             finished_at = CASE WHEN $5 THEN NULL ELSE clock_timestamp() END
         WHERE group_id = $1",
        row.group_id.0,
        row.state.as_str(),
        &purges,
        row.problem as _,
        row.state.is_open()
    )
    .execute(conn)
    .await?;
    ensure_rows("data_set_restores", &done, 1)
}

/// Those that go on by themselves, and of which no job that they wait for is under way.
pub async fn take_due(conn: &mut PgConnection, limit: i64) -> Result<Vec<GroupId>, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT r.group_id AS "id: GroupId" FROM data_set_restores r
           WHERE r.state IN ('checking', 'staging', 'swapping', 'undoing', 'purging')
             AND NOT EXISTS (SELECT FROM data_set_members m JOIN jobs j ON j.id = m.job_id
                             WHERE m.group_id = r.group_id AND m.doing IS NOT NULL AND j.state IN ('queued', 'running'))
             AND NOT EXISTS (SELECT FROM jobs p WHERE p.id = ANY (r.purges) AND p.state IN ('queued', 'running'))
           ORDER BY r.group_id LIMIT $1"#,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// The restore that waits for a job, if one does.
pub async fn waiting_for(conn: &mut PgConnection, job: JobId) -> Result<Option<GroupId>, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT r.group_id AS "id: GroupId" FROM jobs j JOIN data_set_restores r ON r.group_id = j.group_id
           WHERE j.id = $1 AND r.state IN ('checking', 'staging', 'swapping', 'undoing', 'purging')"#,
        job.0
    )
    .fetch_optional(conn)
    .await?)
}

/// One of the data set's restores that has not come to its end, or stands half way.
pub async fn under_way(conn: &mut PgConnection, of: DatasetId) -> Result<Option<GroupId>, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT group_id AS "id: GroupId" FROM data_set_restores WHERE data_set_id = $1
           AND state IN ('checking', 'staging', 'swapping', 'undoing', 'purging', 'partly_swapped') ORDER BY group_id LIMIT 1"#,
        of.0
    )
    .fetch_optional(conn)
    .await?)
}

/// Another restore that works on one of these targets, or stands half way on it: two at once would leave a mixture of both. The
/// targets' rows are locked until the transaction ends, so that of two who ask at once one sees the other.
pub async fn overlapping(
    conn: &mut PgConnection,
    targets: &[TargetId],
    except: Option<GroupId>,
) -> Result<Option<GroupId>, DbError> {
    sqlx::query_scalar!("SELECT id FROM targets WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE", targets as _)
        .fetch_all(&mut *conn)
        .await?;
    Ok(sqlx::query_scalar!(
        r#"SELECT r.group_id AS "id: GroupId" FROM data_set_restores r
           WHERE r.state IN ('checking', 'staging', 'swapping', 'undoing', 'purging', 'partly_swapped')
             AND r.group_id IS DISTINCT FROM $2
             AND EXISTS (SELECT FROM data_set_members m WHERE m.group_id = r.group_id AND m.target_id = ANY ($1))
           ORDER BY r.group_id LIMIT 1"#,
        targets as _,
        except as _
    )
    .fetch_optional(conn)
    .await?)
}
