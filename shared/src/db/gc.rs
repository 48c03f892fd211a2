//! What gc may take away, and where and when it runs. Dead is what the view `dead_objects` says; ages are by the
//! server's clock.

use std::time::Duration;

use sqlx::PgConnection;

use super::DbError;
use crate::{
    id::{ObjectId, SaveId},
    name::Slug,
    save::ObjectState,
};

/// An object of a dead attempt.
#[derive(Debug, Clone)]
pub struct DeadObject {
    pub id: ObjectId,
    pub save_id: SaveId,
    pub epoch: i64,
    pub key: String,
    pub upload_ref: String,
}

/// Dead objects of a store that are older than `grace`, oldest first.
pub async fn due(
    conn: &mut PgConnection,
    store: &Slug,
    grace: Duration,
    limit: u32,
) -> Result<Vec<DeadObject>, DbError> {
    Ok(sqlx::query_as!(
        DeadObject,
        r#"SELECT id AS "id!: ObjectId", save_id AS "save_id!: SaveId", epoch AS "epoch!", key AS "key!", upload_ref AS "upload_ref!"
         FROM dead_objects WHERE store = $1 AND updated_at <= clock_timestamp() - make_interval(secs => $2)
         ORDER BY updated_at, id LIMIT $3"#,
        store.as_str(),
        grace.as_secs_f64(),
        i64::from(limit)
    )
    .fetch_all(conn)
    .await?)
}

/// How many dead objects a store has: those older than `grace`, and the younger ones.
pub async fn count(conn: &mut PgConnection, store: &Slug, grace: Duration) -> Result<(i64, i64), DbError> {
    let counted = sqlx::query!(
        r#"SELECT count(*) FILTER (WHERE updated_at <= clock_timestamp() - make_interval(secs => $2)) AS "due!",
             count(*) FILTER (WHERE updated_at > clock_timestamp() - make_interval(secs => $2)) AS "young!"
         FROM dead_objects WHERE store = $1"#,
        store.as_str(),
        grace.as_secs_f64()
    )
    .fetch_one(conn)
    .await?;
    Ok((counted.due, counted.young))
}

/// What rows say of these keys of a store; a key without a row is not among them.
pub async fn known(
    conn: &mut PgConnection,
    store: &Slug,
    keys: &[String],
) -> Result<Vec<(String, ObjectState)>, DbError> {
    let rows =
        sqlx::query!("SELECT key, state FROM save_objects WHERE store = $1 AND key = ANY($2)", store.as_str(), keys)
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|row| (row.key, row.state)).collect())
}

/// Worker groups for which a collection is due: a store of their living workers has old dead objects, none is queued or
/// running there, and the last one is at least `interval` old. Each store is given to one group.
pub async fn groups_due(conn: &mut PgConnection, grace: Duration, interval: Duration) -> Result<Vec<String>, DbError> {
    Ok(sqlx::query_scalar!(
        r#"WITH due AS (
             SELECT DISTINCT store FROM dead_objects WHERE updated_at <= clock_timestamp() - make_interval(secs => $1)),
         home AS (
             SELECT DISTINCT ON (d.store) d.store, g.name FROM due d
             JOIN workers w ON d.store = ANY(w.stores) AND w.last_seen_at > clock_timestamp() - interval '1 min'
             CROSS JOIN unnest(w.groups) AS g (name) ORDER BY d.store, g.name <> 'default', g.name)
         SELECT DISTINCT h.name AS "name!" FROM home h WHERE NOT EXISTS (
             SELECT FROM jobs j WHERE j.kind = 'gc' AND j.worker_group = h.name AND j.payload ->> 'dry_run' = 'false'
             AND (j.state IN ('queued', 'running') OR j.created_at > clock_timestamp() - make_interval(secs => $2)))"#,
        grace.as_secs_f64(),
        interval.as_secs_f64()
    )
    .fetch_all(conn)
    .await?)
}

/// A group with a living worker that has the store, or with any living worker where none is named; `default` before
/// others.
pub async fn group_with(conn: &mut PgConnection, store: Option<&Slug>) -> Result<Option<String>, DbError> {
    Ok(sqlx::query_scalar!(
        r#"SELECT g.name AS "name!" FROM workers w CROSS JOIN unnest(w.groups) AS g (name)
         WHERE w.last_seen_at > clock_timestamp() - interval '1 min' AND ($1::text IS NULL OR $1 = ANY(w.stores))
         ORDER BY g.name <> 'default', g.name LIMIT 1"#,
        store.map(Slug::as_str)
    )
    .fetch_optional(conn)
    .await?)
}
