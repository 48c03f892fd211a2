//! How targets fared: their backups by day, what they hold now, and what their schedules have stored of late.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::{PgConnection, types::Json};

use super::DbError;
use crate::{
    id::{SaveId, ScheduleId, ServiceId, TargetId},
    name::Slug,
    schedule::Retention,
};

/// A target as it stands.
#[derive(Debug, Clone)]
pub struct TargetStat {
    pub target_id: TargetId,
    pub target: Slug,
    pub service_id: ServiceId,
    pub service: Slug,
    /// The newest full save that is available.
    pub save_id: Option<SaveId>,
    pub version: Option<i32>,
    pub available_at: Option<DateTime<Utc>>,
    pub raw_bytes: Option<i64>,
    pub stored_bytes: Option<i64>,
    /// Days since the newest save was made that is full, valid and verified.
    pub verified_age_days: Option<f64>,
}

/// By service and name; `visible` limits it to those services. Answers the page and the whole count.
pub async fn targets(
    conn: &mut PgConnection,
    visible: Option<&[ServiceId]>,
    target: Option<TargetId>,
    limit: i64,
    offset: i64,
) -> Result<(Vec<TargetStat>, i64), DbError> {
    let rows =
        sqlx::query_file_as!(TargetStat, "src/db/sql/stats_targets.sql", visible as _, target as _, limit, offset)
            .fetch_all(&mut *conn)
            .await?;
    let total = sqlx::query_scalar!(
        "SELECT count(*) AS \"total!\" FROM targets
         WHERE ($1::uuid[] IS NULL OR service_id = ANY ($1)) AND ($2::uuid IS NULL OR id = $2)",
        visible as _,
        target as _
    )
    .fetch_one(conn)
    .await?;
    Ok((rows, total))
}

/// The backups of a target that ended on a day of UTC.
#[derive(Debug, Clone)]
pub struct DayStat {
    pub target_id: TargetId,
    pub day: NaiveDate,
    pub runs: i64,
    pub failures: i64,
    pub cancelled: i64,
    /// Of those that succeeded, as are all below.
    pub raw_bytes: i64,
    pub stored_bytes: i64,
    /// From their first start to their end, all together.
    pub seconds: Option<f64>,
    pub least_s: Option<f64>,
    pub median_s: Option<f64>,
    pub most_s: Option<f64>,
    /// Of the last.
    pub newest_raw_bytes: Option<i64>,
    pub newest_stored_bytes: Option<i64>,
}

/// Of these targets, from one day to another (included): only days on which a backup ended.
pub async fn days(
    conn: &mut PgConnection,
    targets: &[TargetId],
    from: NaiveDate,
    to: NaiveDate,
) -> Result<Vec<DayStat>, DbError> {
    Ok(sqlx::query_file_as!(DayStat, "src/db/sql/stats_days.sql", targets as _, from, to).fetch_all(conn).await?)
}

/// What a schedule has stored of a target of late.
#[derive(Debug, Clone)]
pub struct ScheduleStat {
    pub target_id: TargetId,
    pub schedule_id: ScheduleId,
    pub schedule: Slug,
    pub zone: String,
    pub retention: Option<Json<Retention>>,
    /// Its latest saves, thirty at most, whatever became of them.
    pub saves: i64,
    /// Seconds between one and the next, on the average; none: there are not two.
    pub interval_s: Option<f64>,
    /// Of one copy, on the average of those that have one.
    pub mean_stored_bytes: Option<f64>,
}

/// Of the schedules that are not deleted and have saved one of these targets.
pub async fn schedules(conn: &mut PgConnection, targets: &[TargetId]) -> Result<Vec<ScheduleStat>, DbError> {
    Ok(sqlx::query_file_as!(ScheduleStat, "src/db/sql/stats_schedules.sql", targets as _).fetch_all(conn).await?)
}
