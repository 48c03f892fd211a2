//! The outbox.
use super::DbError;
use crate::{event::NewEvent, id::EventId};
use sqlx::PgConnection;
/// Writes a fact in the transaction that makes it true.
pub async fn insert(conn: &mut PgConnection, event: &NewEvent) -> Result<(), DbError> {
    sqlx::query("INSERT INTO outbox (id, type, subject, aggregate, service, trace_id, data) VALUES ($1,$2,$3,$4,$5,$6,$7)")
        .bind(EventId::generate()).bind(&event.kind).bind(&event.subject).bind(&event.aggregate).bind(&event.service).bind(&event.trace_id).bind(&event.data)
        .execute(conn).await?;
    Ok(())
}
