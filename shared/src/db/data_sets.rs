//! Data sets and the saves that they hold.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, ensure_rows};
use crate::{
    id::{AdminId, DatasetId, SaveId, ServiceId, TargetId},
    name::Slug,
    save::SaveState,
    server::Engine,
};

#[derive(Debug, Clone)]
pub struct DataSetRow {
    pub id: DatasetId,
    pub name: Slug,
    pub note: String,
    /// The moment whose latest valid full saves they are; none: they were named.
    pub as_of: Option<DateTime<Utc>>,
    pub created_by: Option<AdminId>,
    pub created_at: DateTime<Utc>,
    /// How many saves it holds.
    pub saves: i64,
}

/// A save of a data set, and what matters for putting it back.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of design §4, as the row has them")]
pub struct MemberRow {
    pub position: i32,
    pub target_id: TargetId,
    pub target: Slug,
    pub service_id: ServiceId,
    pub service: Slug,
    pub engine: Engine,
    pub can_restore: bool,
    pub save_id: SaveId,
    pub version: i32,
    pub state: SaveState,
    pub valid: bool,
    pub trusted: bool,
    pub suspicious: bool,
    pub created_at: DateTime<Utc>,
    pub available_at: Option<DateTime<Utc>>,
    pub raw_bytes: Option<i64>,
}

/// The save of a target that a data set could hold.
#[derive(Debug, Clone)]
pub struct Latest {
    pub target_id: TargetId,
    pub target: Slug,
    pub service: Slug,
    /// None: it had no valid full save then.
    pub save_id: Option<SaveId>,
}

/// Writes a new one with its saves, in that order.
pub async fn insert(conn: &mut PgConnection, set: &DataSetRow, saves: &[(TargetId, SaveId)]) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO data_sets (id, name, note, as_of, created_by) VALUES ($1, $2, $3, $4, $5)",
        set.id.0,
        set.name.as_str(),
        set.note,
        set.as_of,
        set.created_by as _
    )
    .execute(&mut *conn)
    .await?;
    let (targets, saves): (Vec<_>, Vec<_>) = saves.iter().map(|(target, save)| (target.0, save.0)).unzip();
    let done = sqlx::query!(
        "INSERT INTO data_set_saves (data_set_id, position, target_id, save_id)
         SELECT $1, place::int, target, save FROM unnest($2::uuid[], $3::uuid[]) WITH ORDINALITY AS t (target, save, place)",
        set.id.0,
        &targets,
        &saves
    )
    .execute(conn)
    .await?;
    ensure_rows("data_set_saves", &done, u64::try_from(saves.len()).unwrap_or(u64::MAX))
}

/// One of them, locked against its deletion until the transaction ends.
pub async fn lock(conn: &mut PgConnection, id: DatasetId) -> Result<Option<DataSetRow>, DbError> {
    let found = sqlx::query_scalar!("SELECT name FROM data_sets WHERE id = $1 FOR UPDATE", id.0)
        .fetch_optional(&mut *conn)
        .await?;
    if found.is_none() { Ok(None) } else { get(conn, id).await }
}

/// One of them.
pub async fn get(conn: &mut PgConnection, id: DatasetId) -> Result<Option<DataSetRow>, DbError> {
    Ok(sqlx::query_as!(
        DataSetRow,
        r#"SELECT id, name, note, as_of, created_by, created_at,
               (SELECT count(*) FROM data_set_saves s WHERE s.data_set_id = d.id) AS "saves!"
           FROM data_sets d WHERE id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// By name; of one name alone, where one is given. Answers the page and the whole count.
pub async fn list(
    conn: &mut PgConnection,
    name: Option<&Slug>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<DataSetRow>, i64), DbError> {
    let name = name.map(Slug::as_str);
    let rows = sqlx::query_as!(
        DataSetRow,
        r#"SELECT id, name, note, as_of, created_by, created_at,
               (SELECT count(*) FROM data_set_saves s WHERE s.data_set_id = d.id) AS "saves!"
           FROM data_sets d WHERE $1::text IS NULL OR name = $1 ORDER BY name LIMIT $2 OFFSET $3"#,
        name,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total =
        sqlx::query_scalar!(r#"SELECT count(*) AS "total!" FROM data_sets WHERE $1::text IS NULL OR name = $1"#, name)
            .fetch_one(conn)
            .await?;
    Ok((rows, total))
}

/// Its saves, in their order.
pub async fn members(conn: &mut PgConnection, id: DatasetId) -> Result<Vec<MemberRow>, DbError> {
    Ok(sqlx::query_as!(
        MemberRow,
        r#"SELECT m.position, m.target_id, t.name AS target, t.service_id, v.name AS service, r.engine,
               t.restore_credential_id IS NOT NULL AS "can_restore!", m.save_id, s.version, s.state, s.valid, s.trusted,
               s.suspicious, s.created_at, s.available_at, s.raw_bytes
           FROM data_set_saves m JOIN saves s ON s.id = m.save_id JOIN targets t ON t.id = m.target_id
               JOIN services v ON v.id = t.service_id JOIN servers r ON r.id = t.server_id
           WHERE m.data_set_id = $1 ORDER BY m.position"#,
        id.0
    )
    .fetch_all(conn)
    .await?)
}

/// Of each target of these services, or of all, the newest full save of `mode: all` that was whole at that moment and is valid,
/// trusted and not suspicious now. By service and target.
pub async fn latest(
    conn: &mut PgConnection,
    services: Option<&[ServiceId]>,
    at: DateTime<Utc>,
) -> Result<Vec<Latest>, DbError> {
    Ok(sqlx::query_as!(
        Latest,
        r#"SELECT t.id AS target_id, t.name AS target, v.name AS service,
               (SELECT s.id FROM saves s WHERE s.target_id = t.id AND s.state = 'available' AND s.available_at <= $2
                    AND s.valid AND s.trusted AND NOT s.suspicious AND s.scope = 'full' AND s.mode = 'all'
                ORDER BY s.version DESC LIMIT 1) AS "save_id: SaveId"
           FROM targets t JOIN services v ON v.id = t.service_id
           WHERE $1::uuid[] IS NULL OR t.service_id = ANY ($1) ORDER BY v.name, t.name"#,
        services as _,
        at
    )
    .fetch_all(conn)
    .await?)
}

/// The names of those that hold a save. Ask under the save's lock.
pub async fn holding(conn: &mut PgConnection, save: SaveId) -> Result<Option<Slug>, DbError> {
    let name = sqlx::query_scalar!(
        "SELECT d.name FROM data_set_saves m JOIN data_sets d ON d.id = m.data_set_id WHERE m.save_id = $1 ORDER BY d.name LIMIT 1",
        save.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(name)
}

/// Takes it away; its saves stay, and are nobody's concern any more.
pub async fn delete(conn: &mut PgConnection, id: DatasetId) -> Result<(), DbError> {
    let done = sqlx::query!("DELETE FROM data_sets WHERE id = $1", id.0).execute(conn).await?;
    ensure_rows("data_sets", &done, 1)
}
