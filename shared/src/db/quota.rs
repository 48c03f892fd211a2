//! How many jobs an admin may ask for in a day. Days are those of UTC, by the database's clock.

use sqlx::PgConnection;

use super::DbError;
use crate::id::AdminId;

/// A quota after jobs were taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Jobs a day.
    pub most: i32,
    /// Jobs of today, with those that were just taken: more than `most` where there was no room for them.
    pub used: i32,
    /// Seconds until the day ends; 1 or more.
    pub resets_in_s: i64,
}

impl Taken {
    /// Whether there was room. Where there was none the transaction must not be committed.
    #[must_use]
    pub fn fits(self) -> bool {
        self.used <= self.most
    }
}

/// Takes so many jobs from the admin's quota of today. It holds the counter's row until the transaction ends, so that
/// jobs asked for at once cannot pass the same count: the later it is taken, the less they wait for each other. `most` is
/// the quota, 1 or more.
pub async fn take(tx: &mut PgConnection, admin: AdminId, jobs: i32, most: i32) -> Result<Taken, DbError> {
    Ok(sqlx::query_as!(
        Taken,
        r#"WITH clock AS (SELECT clock_timestamp() AT TIME ZONE 'UTC' AS utc),
             taken AS (
               INSERT INTO jobs_of_a_day AS d (admin_id, day, jobs)
               SELECT $1, utc::date, $2 FROM clock
               ON CONFLICT (admin_id, day) DO UPDATE SET jobs = d.jobs + excluded.jobs RETURNING jobs)
           SELECT $3::int AS "most!", jobs AS "used!",
             greatest(1, ceil(extract(epoch FROM utc::date + 1 - utc)))::bigint AS "resets_in_s!"
           FROM taken, clock"#,
        admin.0,
        jobs,
        most
    )
    .fetch_one(tx)
    .await?)
}
