//! The published facts as readers see them: rows of the outbox that have their `seq`.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, types::Json};

use super::DbError;
use crate::id::{EventId, ServiceId};

/// One fact. `service` is the service's name of that moment.
#[derive(Debug, Clone)]
pub struct EventRow {
    pub id: EventId,
    pub seq: i64,
    pub r#type: String,
    pub subject: String,
    pub service: Option<String>,
    pub trace_id: Option<String>,
    pub data: Json<serde_json::Value>,
    pub occurred_at: DateTime<Utc>,
}

/// The facts after `after`, in order; `visible` limits them to those services.
pub async fn after(
    conn: &mut PgConnection,
    visible: Option<&[ServiceId]>,
    after: i64,
    limit: i64,
) -> Result<Vec<EventRow>, DbError> {
    Ok(sqlx::query_as!(
        EventRow,
        r#"SELECT id, seq AS "seq!", type, subject, service, trace_id, data AS "data: Json<serde_json::Value>", occurred_at FROM outbox
         WHERE seq > $2 AND ($1::uuid[] IS NULL OR service_id = ANY ($1))
         ORDER BY seq LIMIT $3"#,
        visible as _,
        after,
        limit
    )
    .fetch_all(conn)
    .await?)
}

/// The `seq` of the newest fact; 0: there is none.
pub async fn newest(conn: &mut PgConnection) -> Result<i64, DbError> {
    Ok(sqlx::query_scalar!("SELECT last FROM outbox_seq").fetch_one(conn).await?)
}
