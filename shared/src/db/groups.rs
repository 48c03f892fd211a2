//! Jobs that are followed together.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::DbError;
use crate::{
    id::{GroupId, ServiceId},
    job::JobState,
};

/// How many jobs of a group are in one state, of one service.
#[derive(Debug, Clone)]
pub struct GroupLine {
    pub service_id: Option<ServiceId>,
    pub state: JobState,
    pub jobs: i64,
    /// When the first of them was asked for.
    pub created_at: DateTime<Utc>,
    /// When the last of them ended; none: none has.
    pub finished_at: Option<DateTime<Utc>>,
}

/// A group's jobs by service and state; empty: there is no such group.
pub async fn lines(conn: &mut PgConnection, id: GroupId) -> Result<Vec<GroupLine>, DbError> {
    Ok(sqlx::query_as!(
        GroupLine,
        r#"SELECT service_id, state, count(*) AS "jobs!", min(created_at) AS "created_at!", max(finished_at) AS finished_at
         FROM jobs WHERE group_id = $1 GROUP BY service_id, state ORDER BY min(id::text)"#,
        id.0
    )
    .fetch_all(conn)
    .await?)
}
