//! A copy that is made again from a good one: which job does it, and what its fenced finish writes.

use sqlx::{PgConnection, types::Json};

use super::{DbError, claim::Fence, saves::GoodFacts};
use crate::id::{JobId, SaveId};

/// The job that makes this copy again, queued or running.
pub async fn under_way(conn: &mut PgConnection, save: SaveId, store: &str) -> Result<Option<JobId>, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT id FROM jobs WHERE reads_save_id = $1 AND kind = 'copy' AND payload ->> 'store' = $2
           AND state IN ('queued', 'running') ORDER BY id LIMIT 1",
        save.0,
        store
    )
    .fetch_optional(conn)
    .await?)
}

/// Missing or corrupt → good, with the objects of this attempt; those it had before are gc's. `false`: it is not broken
/// any more, and nothing was written.
pub async fn replace_copy(
    conn: &mut PgConnection,
    fence: Fence,
    save: SaveId,
    store: &str,
    facts: GoodFacts<'_>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE save_copies SET state = 'good', epoch = $3, stored_bytes = $4, encodings = $5, sealing = $6, error = NULL,
             updated_at = clock_timestamp()
         WHERE save_id = $1 AND store = $2 AND state IN ('missing', 'corrupt')",
        save.0,
        store,
        fence.epoch,
        facts.bytes(),
        Json(facts.encodings) as _,
        facts.sealing.map(Json) as _
    )
    .execute(&mut *conn)
    .await?;
    if done.rows_affected() != 1 {
        return Ok(false);
    }
    sqlx::query!(
        "UPDATE save_objects SET state = 'deleting', updated_at = clock_timestamp()
         WHERE save_id = $1 AND store = $2 AND state = 'stored'",
        save.0,
        store
    )
    .execute(conn)
    .await?;
    Ok(true)
}
