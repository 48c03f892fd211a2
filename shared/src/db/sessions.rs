//! Logins: sessions, who a session belongs to now, and the failures that throttle.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::DbError;
use crate::id::{AdminId, SessionId};

/// The admin behind a live session: neither revoked nor over, the admin not disabled.
#[derive(Debug, Clone)]
pub struct LiveSession {
    pub admin_id: AdminId,
    pub admin_name: String,
    pub token_version: i32,
    /// The absolute end of the session, whatever is renewed.
    pub expires_at: DateTime<Utc>,
    /// The database's clock now: the one clock for lives of sessions.
    pub now: DateTime<Utc>,
}

/// Opens a session that lasts `life_s` seconds from now, and answers its absolute end.
pub async fn open(
    conn: &mut PgConnection,
    id: SessionId,
    admin_id: AdminId,
    address: Option<&str>,
    life_s: f64,
) -> Result<DateTime<Utc>, DbError> {
    Ok(sqlx::query_scalar!(
        "INSERT INTO sessions (id, admin_id, address, expires_at)
         VALUES ($1, $2, $3, clock_timestamp() + make_interval(secs => $4)) RETURNING expires_at",
        id.0,
        admin_id.0,
        address,
        life_s
    )
    .fetch_one(conn)
    .await?)
}

/// The session, if it is live.
pub async fn live(conn: &mut PgConnection, id: SessionId) -> Result<Option<LiveSession>, DbError> {
    Ok(sqlx::query_as!(
        LiveSession,
        "SELECT s.admin_id, a.name AS admin_name, a.token_version, s.expires_at, clock_timestamp() AS \"now!\"
         FROM sessions s JOIN admins a ON a.id = s.admin_id
         WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp() AND a.disabled_at IS NULL",
        id.0
    )
    .fetch_optional(conn)
    .await?)
}

/// Ends a session at once. A session that has ended stays as it was.
pub async fn revoke(conn: &mut PgConnection, id: SessionId) -> Result<(), DbError> {
    sqlx::query!("UPDATE sessions SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends every live session of an admin at once, and with them their access and refresh tokens; answers how many. API tokens
/// are not of a session: they live as long as their owner may log in.
pub async fn revoke_all(conn: &mut PgConnection, admin: AdminId) -> Result<u64, DbError> {
    revoke_but(conn, admin, None).await
}

/// As [`revoke_all`], all but one: whoever changes their own password stays logged in where they did it.
pub async fn revoke_others(conn: &mut PgConnection, admin: AdminId, kept: SessionId) -> Result<u64, DbError> {
    revoke_but(conn, admin, Some(kept)).await
}

async fn revoke_but(conn: &mut PgConnection, admin: AdminId, kept: Option<SessionId>) -> Result<u64, DbError> {
    let ended = sqlx::query!(
        "UPDATE sessions SET revoked_at = clock_timestamp()
         WHERE admin_id = $1 AND id IS DISTINCT FROM $2 AND revoked_at IS NULL AND expires_at > clock_timestamp()",
        admin.0,
        kept as _
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected())
}

/// Notes a failed login, and keeps the table short.
pub async fn record_failure(conn: &mut PgConnection, name: &str, address: &str) -> Result<(), DbError> {
    sqlx::query!("INSERT INTO login_failures (name, address) VALUES ($1, $2)", name, address).execute(conn).await?;
    Ok(())
}

/// Serialises the logins of one account from one address until the transaction ends, so that parallel guesses cannot
/// all pass the same count.
pub async fn lock_logins(conn: &mut PgConnection, name: &str, address: &str) -> Result<(), DbError> {
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1 || E'\\n' || $2, 7))", name, address)
        .execute(conn)
        .await?;
    Ok(())
}

/// How many logins of the account failed from this address within the window, and in how many seconds the oldest of
/// them leaves it.
pub async fn recent_failures(
    conn: &mut PgConnection,
    name: &str,
    address: &str,
    window_s: f64,
) -> Result<(i64, i64), DbError> {
    let found = sqlx::query!(
        r#"SELECT count(*) AS "failures!",
             coalesce(ceil(extract(epoch FROM min(at) + make_interval(secs => $3) - clock_timestamp()))::bigint, 0) AS "leaves_in_s!"
         FROM login_failures WHERE name = $1 AND address = $2 AND at > clock_timestamp() - make_interval(secs => $3)"#,
        name,
        address,
        window_s
    )
    .fetch_one(conn)
    .await?;
    Ok((found.failures, found.leaves_in_s))
}

/// Forgets the failures of an account from an address, after a login that succeeded.
pub async fn clear_failures(conn: &mut PgConnection, name: &str, address: &str) -> Result<(), DbError> {
    sqlx::query!("DELETE FROM login_failures WHERE name = $1 AND address = $2", name, address).execute(conn).await?;
    Ok(())
}
