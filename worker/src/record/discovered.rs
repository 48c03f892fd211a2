//! The record of a look at a server: targets for what is new, and the backups of all that its schedule names.

use shared::{
    config,
    db::{DbError, jobs::JobRow, schedules::ScheduleRow},
    enqueue::{self, Asked, EnqueueError},
    name::DatabaseName,
};
use sqlx::PgConnection;

pub(super) async fn write(
    tx: &mut PgConnection,
    config: &config::Jobs,
    job: &JobRow,
    schedule: &ScheduleRow,
    databases: &[DatabaseName],
) -> Result<(), DbError> {
    let asked = Asked {
        by: job.requested_by,
        request_id: job.request_id.clone(),
        trace_id: job.trace_id.clone(),
        priority: Some(job.priority),
        ..Asked::by_nobody(config)
    };
    match enqueue::discovered(tx, job, schedule, databases, &asked).await {
        Ok(_) => Ok(()),
        Err(EnqueueError::Db(error)) => Err(error),
        Err(error) => Err(DbError::Sql(sqlx::Error::Protocol(error.to_string()))),
    }
}
