//! Refresh tokens: each is exchanged once for the next one. One that comes a second time was copied by somebody, and
//! nobody can tell by whom: the session ends.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, outbox, sessions};
use crate::{
    event::NewEvent,
    id::{AdminId, SessionId},
};

/// The SHA-256 of a token.
pub type Hash = [u8; 32];

/// The live session whose token was exchanged.
#[derive(Debug, Clone)]
pub struct Exchanged {
    pub session_id: SessionId,
    pub admin_id: AdminId,
    pub admin_name: String,
    pub token_version: i32,
    /// The absolute end of the session.
    pub expires_at: DateTime<Utc>,
}

/// Whose token came a second time.
#[derive(Debug, Clone)]
pub struct Reused {
    pub session_id: SessionId,
    pub admin_id: AdminId,
    pub admin_name: String,
    /// Whether the session was live until now.
    pub was_live: bool,
}

/// Keeps the hash of a new token of a session. A session has one that is not used yet.
pub async fn insert(conn: &mut PgConnection, session: SessionId, hash: &Hash) -> Result<(), DbError> {
    sqlx::query!("INSERT INTO refresh_tokens (hash, session_id) VALUES ($1, $2)", &hash[..], session.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Uses a token up, if it is unused and its session is live: follow with [`insert`] in the same transaction. Of two callers with one
/// token the second waits for the first and gets nothing.
pub async fn exchange(tx: &mut PgConnection, hash: &Hash) -> Result<Option<Exchanged>, DbError> {
    Ok(sqlx::query_as!(
        Exchanged,
        "UPDATE refresh_tokens r SET used_at = clock_timestamp()
         FROM sessions s JOIN admins a ON a.id = s.admin_id
         WHERE r.hash = $1 AND r.used_at IS NULL AND s.id = r.session_id
           AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp() AND a.disabled_at IS NULL
         RETURNING s.id AS session_id, s.admin_id, a.name AS admin_name, a.token_version, s.expires_at",
        &hash[..]
    )
    .fetch_optional(tx)
    .await?)
}

/// Looks whether a token that was not exchanged had been before. If so its session is revoked, and the event written,
/// in this transaction: commit it although the caller is refused.
pub async fn reused(tx: &mut PgConnection, hash: &Hash, trace_id: Option<String>) -> Result<Option<Reused>, DbError> {
    let found = sqlx::query_as!(
        Reused,
        r#"SELECT s.id AS session_id, s.admin_id, a.name AS admin_name,
             s.revoked_at IS NULL AND s.expires_at > clock_timestamp() AS "was_live!"
         FROM refresh_tokens r JOIN sessions s ON s.id = r.session_id JOIN admins a ON a.id = s.admin_id
         WHERE r.hash = $1 AND r.used_at IS NOT NULL FOR UPDATE OF s"#,
        &hash[..]
    )
    .fetch_optional(&mut *tx)
    .await?;
    if let Some(reused) = found.as_ref().filter(|reused| reused.was_live) {
        sessions::revoke(tx, reused.session_id).await?;
        let event = NewEvent {
            kind: "session.reused".to_owned(),
            subject: format!("sessions/{}", reused.session_id),
            aggregate: format!("session:{}", reused.session_id),
            service: None,
            trace_id,
            data: serde_json::json!({ "session_id": reused.session_id, "admin_id": reused.admin_id }),
        };
        outbox::insert(tx, &event).await?;
    }
    Ok(found)
}
