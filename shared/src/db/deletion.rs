//! The end of a save: available or failed → deleting → deleted. The row stays as a tombstone.

use serde_json::json;
use sqlx::PgConnection;

use super::{
    DbError,
    claim::{Fence, owns},
    ensure_rows,
    jobs::JobRow,
    outbox,
    saves::SaveRow,
};
use crate::{
    event::NewEvent,
    id::{JobId, ObjectId, SaveId},
};

/// A job that needs a save.
#[derive(Debug, Clone)]
pub struct User {
    pub job: JobId,
    pub kind: String,
}

/// A job that uses the save, if there is one: it reads it now, waits to read it, or made it and still runs (a restore's
/// safety save). Ask under the save's lock.
pub async fn user(conn: &mut PgConnection, save: SaveId) -> Result<Option<User>, DbError> {
    Ok(sqlx::query_as!(
        User,
        "SELECT j.id AS job, j.kind FROM jobs j JOIN (
             SELECT id FROM jobs WHERE reads_save_id = $1 AND state IN ('queued', 'running')
             UNION ALL SELECT job_id FROM save_uses WHERE save_id = $1
             UNION ALL SELECT m.id FROM saves s JOIN jobs m ON m.id = s.job_id WHERE s.id = $1 AND m.state IN ('queued', 'running')
         ) u ON u.id = j.id ORDER BY j.id LIMIT 1",
        save.0
    )
    .fetch_optional(conn)
    .await?)
}

/// The job that deletes the save, queued or running.
pub async fn under_way(conn: &mut PgConnection, save: SaveId) -> Result<Option<JobId>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT id FROM jobs WHERE save_id = $1 AND kind = 'delete' AND state IN ('queued', 'running') ORDER BY id LIMIT 1",
        save.0
    )
    .fetch_optional(conn)
    .await?)
}

/// Available or failed → deleting, with all that belongs to the save, and the event. Under the save's lock.
pub async fn begin(conn: &mut PgConnection, save: &SaveRow, trace_id: Option<String>) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE saves SET state = 'deleting' WHERE id = $1 AND state IN ('available', 'failed') AND NOT pinned",
        save.id.0
    )
    .execute(&mut *conn)
    .await?;
    ensure_rows("saves", &done, 1)?;
    sqlx::query!(
        "UPDATE save_copies SET state = 'deleting', updated_at = clock_timestamp() WHERE save_id = $1 AND state <> 'deleted'",
        save.id.0
    )
    .execute(&mut *conn)
    .await?;
    // Those of dead attempts too: no attempt is alive, or the save would be pending.
    sqlx::query!(
        "UPDATE save_objects SET state = 'deleting', updated_at = clock_timestamp() WHERE save_id = $1 AND state <> 'deleted'",
        save.id.0
    )
    .execute(&mut *conn)
    .await?;
    let event = NewEvent {
        kind: "save.deleting".to_owned(),
        subject: format!("saves/{}", save.id),
        aggregate: format!("save:{}", save.id),
        service: Some(save.service_id),
        trace_id,
        data: json!({ "save_id": save.id, "target_id": save.target_id, "version": save.version, "was": save.state }),
    };
    outbox::insert(conn, &event).await
}

/// An object that is gone from its store: → deleted. `false`: the lease is lost. Run it in a transaction of its own.
pub async fn object_gone(tx: &mut PgConnection, fence: Fence, id: ObjectId) -> Result<bool, DbError> {
    if !owns(tx, fence).await? {
        return Ok(false);
    }
    sqlx::query!(
        "UPDATE save_objects SET state = 'deleted', updated_at = clock_timestamp()
         WHERE id = $1 AND state <> 'deleted'",
        id.0
    )
    .execute(tx)
    .await?;
    Ok(true)
}

/// Deleting → deleted, inside the fenced finish of the delete job: every object of the save is gone.
pub async fn end(conn: &mut PgConnection, job: &JobRow, save: SaveId) -> Result<(), DbError> {
    let gone = sqlx::query!(
        "UPDATE saves SET state = 'deleted', deleted_at = clock_timestamp() WHERE id = $1 AND state = 'deleting'
           AND NOT EXISTS (SELECT FROM save_objects WHERE save_id = $1 AND state <> 'deleted')
         RETURNING version",
        save.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(gone) = gone else { return Err(DbError::Rows { table: "saves", expected: 1, actual: 0 }) };
    sqlx::query!(
        "UPDATE save_copies SET state = 'deleted', updated_at = clock_timestamp() WHERE save_id = $1 AND state <> 'deleted'",
        save.0
    )
    .execute(&mut *conn)
    .await?;
    let event = NewEvent {
        kind: "save.deleted".to_owned(),
        subject: format!("saves/{save}"),
        aggregate: format!("save:{save}"),
        service: job.service_id,
        trace_id: job.trace_id.clone(),
        data: json!({ "save_id": save, "target_id": job.target_id, "job_id": job.id, "version": gone.version }),
    };
    outbox::insert(conn, &event).await
}
