//! What people change of a save: its note, whether it is pinned, what they say of it, when it expires; and the release
//! of one that looked suspicious. Under the save's lock.

use serde_json::json;
use sqlx::PgConnection;

use super::{DbError, ensure_rows, outbox, saves::SaveRow};
use crate::{event::NewEvent, id::SaveId, save::CopyState};

/// Writes what a person may change, as the row has it now; the state is the one that the row had under its lock.
pub async fn update(conn: &mut PgConnection, row: &SaveRow) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE saves SET note = $3, pinned = $4, valid = $5, invalid_reason = $6, expires_at = $7,
             unusable_reason = $8, unusable_depth = CASE WHEN $8::text IS NULL THEN NULL ELSE unusable_depth END
         WHERE id = $1 AND state = $2",
        row.id.0,
        row.state.as_str(),
        row.note,
        row.pinned,
        row.valid,
        row.invalid_reason,
        row.expires_at,
        row.unusable_reason
    )
    .execute(conn)
    .await?;
    ensure_rows("saves", &done, 1)
}

/// How many of its copies are good.
pub async fn good_copies(conn: &mut PgConnection, id: SaveId) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!(
        "SELECT count(*) AS \"good!\" FROM save_copies WHERE save_id = $1 AND state = $2",
        id.0,
        CopyState::Good.as_str()
    )
    .fetch_one(conn)
    .await?)
}

/// Suspicious → not, of an available save, with its event.
pub async fn accept(conn: &mut PgConnection, save: &SaveRow, trace_id: Option<String>) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE saves SET suspicious = false WHERE id = $1 AND state = 'available' AND suspicious",
        save.id.0
    )
    .execute(&mut *conn)
    .await?;
    ensure_rows("saves", &done, 1)?;
    let event = NewEvent {
        kind: "save.accepted".to_owned(),
        subject: format!("saves/{}", save.id),
        aggregate: format!("save:{}", save.id),
        service: Some(save.service_id),
        trace_id,
        data: json!({ "save_id": save.id, "target_id": save.target_id, "version": save.version }),
    };
    outbox::insert(conn, &event).await
}
