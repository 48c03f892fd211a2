//! What a new save is held against, and what was found.

use serde_json::json;
use sqlx::{PgConnection, types::Json};

use super::{DbError, ensure_rows, jobs::JobRow, outbox};
use crate::{
    drift::{Drift, Shape, Suspicion},
    event::NewEvent,
    id::{SaveId, TargetId},
};

/// When a save of the target is suspicious.
pub async fn of_target(conn: &mut PgConnection, target: TargetId) -> Result<Drift, DbError> {
    let drift = sqlx::query_scalar!("SELECT drift FROM targets WHERE id = $1", target.0).fetch_optional(conn).await?;
    Ok(drift.flatten().map(|drift| drift.0).unwrap_or_default())
}

/// What the target's newest sound full saves hold, the newest first: of those before this version, no further back than the
/// last that a person accepted. Those that wait to be accepted, or that a person called invalid, are passed over; so is what
/// this version cannot read of an inventory.
pub async fn earlier(conn: &mut PgConnection, target: TargetId, version: i32, most: u8) -> Result<Vec<Shape>, DbError> {
    let rows = sqlx::query!(
        r#"SELECT raw_bytes, manifest -> 'inventory' AS "inventory: Json<serde_json::Value>", suspicions IS NOT NULL AS "is_accepted!"
           FROM saves WHERE target_id = $1 AND version < $2 AND state = 'available' AND scope = 'full'
             AND origin IN ('schedule', 'manual') AND NOT suspicious AND invalid_reason IS NULL
           ORDER BY version DESC LIMIT $3"#,
        target.0,
        version,
        i64::from(most)
    )
    .fetch_all(conn)
    .await?;
    let last = rows.iter().position(|row| row.is_accepted).map_or(rows.len(), |at| at + 1);
    let shape = |raw_bytes: Option<i64>, inventory: Option<Json<serde_json::Value>>| Shape {
        raw_bytes: raw_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
        inventory: inventory.and_then(|inventory| serde_json::from_value(inventory.0).ok()),
    };
    Ok(rows.into_iter().take(last).map(|row| shape(row.raw_bytes, row.inventory)).collect())
}

/// How many of the same saves, from the newest, hold the same as this one, to the last row: no more than `most`.
pub async fn unchanged(
    conn: &mut PgConnection,
    save: SaveId,
    target: TargetId,
    version: i32,
    most: u16,
) -> Result<u16, DbError> {
    let rows = sqlx::query!(
        r#"SELECT md5((s.manifest -> 'inventory')::text) = md5((mine.manifest -> 'inventory')::text) AS is_same,
               s.suspicions IS NOT NULL AS "is_accepted!"
           FROM saves s JOIN saves mine ON mine.id = $1
           WHERE s.target_id = $2 AND s.version < $3 AND s.state = 'available' AND s.scope = 'full'
             AND s.origin IN ('schedule', 'manual') AND NOT s.suspicious AND s.invalid_reason IS NULL
           ORDER BY s.version DESC LIMIT $4"#,
        save.0,
        target.0,
        version,
        i64::from(most)
    )
    .fetch_all(conn)
    .await?;
    let mut unchanged = 0;
    for row in rows {
        if row.is_same != Some(true) {
            break;
        }
        unchanged += 1;
        if row.is_accepted {
            break;
        }
    }
    Ok(unchanged)
}

/// Not suspicious → suspicious, of a save that has just become available, with its event.
pub async fn suspect(
    conn: &mut PgConnection,
    job: &JobRow,
    save: SaveId,
    version: i32,
    found: &[Suspicion],
) -> Result<(), DbError> {
    let done = sqlx::query!(
        "UPDATE saves SET suspicious = true, suspicions = $2 WHERE id = $1 AND state = 'available' AND NOT suspicious",
        save.0,
        Json(found) as _
    )
    .execute(&mut *conn)
    .await?;
    ensure_rows("saves", &done, 1)?;
    let event = NewEvent {
        kind: "save.suspicious".to_owned(),
        subject: format!("saves/{save}"),
        aggregate: format!("save:{save}"),
        service: job.service_id,
        trace_id: job.trace_id.clone(),
        data: json!({
            "save_id": save, "target_id": job.target_id, "job_id": job.id, "version": version, "suspicions": found,
            "reasons": found.iter().map(|found| found.reason.as_str()).collect::<Vec<_>>(),
        }),
    };
    outbox::insert(conn, &event).await
}
