//! Logins: sessions, who a session belongs to now, and the failures that throttle.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{DbError, admins::RoleRow};
use crate::id::{AdminId, SessionId};

/// The admin behind a live session: neither revoked nor over, the admin not disabled.
#[derive(Debug, Clone)]
pub struct LiveSession {
    pub admin_id: AdminId,
    pub admin_name: String,
    pub token_version: i32,
    /// Jobs a day; none: what the configuration says.
    pub jobs_per_day: Option<i32>,
    /// The absolute end of the session, whatever is renewed.
    pub expires_at: DateTime<Utc>,
    /// The admin's roles, the global ones first.
    pub roles: Vec<RoleRow>,
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

/// The session, if it is live. One statement, as it is asked on each request.
pub async fn live(conn: &mut PgConnection, id: SessionId) -> Result<Option<LiveSession>, DbError> {
    let rows = sqlx::query!(
        "SELECT s.admin_id, a.name AS admin_name, a.token_version, a.jobs_per_day, s.expires_at, r.role AS \"role?\", r.service_id
         FROM sessions s JOIN admins a ON a.id = s.admin_id LEFT JOIN admin_roles r ON r.admin_id = a.id
         WHERE s.id = $1 AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp() AND a.disabled_at IS NULL
         ORDER BY r.service_id NULLS FIRST",
        id.0
    )
    .fetch_all(conn)
    .await?;
    let mut live: Option<LiveSession> = None;
    for row in rows {
        let session = live.get_or_insert_with(|| LiveSession {
            admin_id: row.admin_id,
            admin_name: row.admin_name,
            token_version: row.token_version,
            jobs_per_day: row.jobs_per_day,
            expires_at: row.expires_at,
            roles: Vec::new(),
        });
        session.roles.extend(row.role.map(|role| RoleRow { role, service_id: row.service_id }));
    }
    Ok(live)
}

/// A live session, for its owner to recognise.
#[derive(Debug, Clone)]
pub struct SessionRow {
    pub id: SessionId,
    /// Where the login came from.
    pub address: Option<String>,
    pub created_at: DateTime<Utc>,
    /// When its refresh token was last exchanged, if ever.
    pub refreshed_at: Option<DateTime<Utc>>,
    pub expires_at: DateTime<Utc>,
}

/// The live sessions of an admin, newest first. Answers the page and the whole count.
pub async fn list(
    conn: &mut PgConnection,
    admin: AdminId,
    limit: i64,
    offset: i64,
) -> Result<(Vec<SessionRow>, i64), DbError> {
    let rows = sqlx::query_as!(
        SessionRow,
        "SELECT s.id, s.address, s.created_at, s.expires_at,
             (SELECT max(r.used_at) FROM refresh_tokens r WHERE r.session_id = s.id) AS refreshed_at
         FROM sessions s WHERE s.admin_id = $1 AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp()
         ORDER BY s.id DESC LIMIT $2 OFFSET $3",
        admin.0,
        limit,
        offset
    )
    .fetch_all(&mut *conn)
    .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM sessions
         WHERE admin_id = $1 AND revoked_at IS NULL AND expires_at > clock_timestamp()",
        admin.0
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// Ends a live session of this admin at once; `false`: the admin has no such session.
pub async fn revoke_own(conn: &mut PgConnection, admin: AdminId, id: SessionId) -> Result<bool, DbError> {
    let ended = sqlx::query!(
        "UPDATE sessions SET revoked_at = clock_timestamp()
         WHERE id = $1 AND admin_id = $2 AND revoked_at IS NULL AND expires_at > clock_timestamp()",
        id.0,
        admin.0
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// Ends a session at once, and with it its access and refresh tokens. A session that has ended stays as it was.
pub async fn revoke(conn: &mut PgConnection, id: SessionId) -> Result<(), DbError> {
    sqlx::query!("UPDATE sessions SET revoked_at = clock_timestamp() WHERE id = $1 AND revoked_at IS NULL", id.0)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends every live session of an admin at once, and with them their access and refresh tokens; answers how many. API tokens
/// are not of a session: they live as long as their owner may log in.
pub async fn revoke_all(conn: &mut PgConnection, admin: AdminId) -> Result<u64, DbError> {
    let ended = sqlx::query!(
        "UPDATE sessions SET revoked_at = clock_timestamp()
         WHERE admin_id = $1 AND revoked_at IS NULL AND expires_at > clock_timestamp()",
        admin.0
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
