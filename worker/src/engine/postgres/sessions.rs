//! Ends what older attempts of a job still run on a target, before the next one begins (design §5).

use std::time::Duration;

use shared::name::DatabaseName;
use sqlx::Row as _;

use super::{
    super::{Connection, EngineError, ErrorCode, SessionTag},
    connect::{connect, query},
};

pub(super) async fn end_older_sessions(at: &Connection, database: &DatabaseName) -> Result<usize, EngineError> {
    let mut session = connect(at, database).await?;
    let prefix = format!("holdfast/{}/", at.session.job);
    let mut ended = std::collections::BTreeSet::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let rows = sqlx::query(
            "SELECT pid, application_name::text FROM pg_stat_activity WHERE left(application_name, length($1)) = $1",
        )
        .bind(&prefix)
        .fetch_all(&mut session)
        .await
        .map_err(query("looking for sessions of older attempts"))?;
        let older = |row: &sqlx::postgres::PgRow| {
            let tag = row.get::<&str, _>(1).parse::<SessionTag>().ok()?;
            (tag.epoch < at.session.epoch).then(|| row.get::<i32, _>(0))
        };
        let older: Vec<i32> = rows.iter().filter_map(older).collect();
        if older.is_empty() {
            return Ok(ended.len());
        }
        if tokio::time::Instant::now() > deadline {
            let message = format!("{} sessions of older attempts did not end within 30 s", older.len());
            return Err(EngineError::new(ErrorCode::DatabaseInUse, message));
        }
        sqlx::query("SELECT pg_terminate_backend(pid) FROM unnest($1) pid")
            .bind(&older)
            .execute(&mut session)
            .await
            .map_err(query("ending sessions of older attempts"))?;
        ended.extend(older);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
