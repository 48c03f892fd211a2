//! The transaction of a restore tool: its id before the end is let go, and what became of it after a crash.

use std::{path::PathBuf, time::Duration};

use shared::name::DatabaseName;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::{
    super::{Connection, EngineError, ErrorCode},
    Postgres,
    connect::{cancellable, connect, query},
};

/// It may wait for one lock after another, each for a minute.
const PATIENCE: Duration = Duration::from_mins(10);

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Committed,
    RolledBack,
    /// So long ago that the server has forgotten it.
    Forgotten,
}

impl Postgres {
    /// The id of the transaction that the tool is in, as soon as it has one. None: the tool has ended.
    pub(crate) async fn transaction_of(
        &self,
        at: &Connection,
        database: &DatabaseName,
        tool: u32,
        cancel: &CancellationToken,
    ) -> Result<Option<String>, EngineError> {
        let alive = PathBuf::from(format!("/proc/{tool}"));
        let watch = async {
            let mut session = connect(at, database).await?;
            let deadline = Instant::now() + PATIENCE;
            while Instant::now() < deadline {
                if let Some(id) = running(&mut session, at, database).await? {
                    return Ok(Some(id));
                }
                if !alive.exists() {
                    return Ok(None);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            let message = format!("pg_restore did not begin within {} s", PATIENCE.as_secs());
            Err(EngineError::new(ErrorCode::LockTimeout, message))
        };
        cancellable(cancel, watch).await
    }

    /// What became of a transaction whose sessions have ended.
    pub(crate) async fn transaction_ended(
        &self,
        at: &Connection,
        database: &DatabaseName,
        id: &str,
    ) -> Result<Ended, EngineError> {
        let status: Option<String> = sqlx::query_scalar("SELECT pg_xact_status($1::text::xid8)")
            .bind(id)
            .fetch_one(&mut connect(at, database).await?)
            .await
            .map_err(query("asking what became of the transaction"))?;
        match status.as_deref() {
            Some("committed") => Ok(Ended::Committed),
            Some("in progress") => {
                Err(EngineError::new(ErrorCode::DatabaseInUse, "the transaction of the earlier attempt has not ended"))
            }
            Some(_) => Ok(Ended::RolledBack),
            None => Ok(Ended::Forgotten),
        }
    }
}

async fn running(
    session: &mut PgConnection,
    at: &Connection,
    database: &DatabaseName,
) -> Result<Option<String>, EngineError> {
    let what = "looking for the transaction of the restore";
    let sql = "SELECT backend_xid::text FROM pg_stat_activity
                WHERE application_name = $1 AND datname = $2 AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL";
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(at.session.to_string())
        .bind(database.as_str())
        .fetch_optional(&mut *session)
        .await
        .map_err(query(what))?;
    let Some(row) = row else { return Ok(None) };
    // Of the last transaction that has ended: older or newer than the one that runs, as others are about.
    let near: String = sqlx::query_scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        .fetch_one(session)
        .await
        .map_err(query(what))?;
    Ok(whole(row.get(0), &near))
}

/// The whole id of a transaction of which the server shows the lower half. `near` is the whole id of another: no two that a
/// server can tell apart are 2^31 or more away from each other (PostgreSQL, "Preventing Transaction ID Wraparound Failures").
fn whole(half: &str, near: &str) -> Option<String> {
    let (half, near): (u32, u64) = (half.parse().ok()?, near.parse().ok()?);
    let lower = u32::try_from(near & u64::from(u32::MAX)).ok()?;
    let id = near.checked_add_signed(half.wrapping_sub(lower).cast_signed().into())?;
    Some(id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_made_whole_across_a_wraparound() {
        for (half, near, id) in [
            ("751", "752", "751"),
            // An older one has not ended yet, so that the last that has ended is older still.
            ("752", "751", "752"),
            ("4294967290", "4294967301", "4294967290"),
            ("4", "4294967301", "4294967300"),
            ("6", "4294967301", "4294967302"),
            ("3", "4294967290", "4294967299"),
        ] {
            assert_eq!(whole(half, near).as_deref(), Some(id), "{half} near {near}");
        }
        assert_eq!(whole("x", "1"), None);
    }
}
