//! The dead man's switch: a schedule whose saves do not come is told of, also when nothing has failed.

use std::collections::HashMap;

use shared::{
    db::{
        DbError,
        overdue::{self, CoveredTarget},
        slots,
    },
    id::ScheduleId,
};
use sqlx::Connection as _;
use tokio::time::Instant;

use super::plan::{self, Timetable};
use crate::context::Context;

/// Schedules that are looked at together.
const PAGE: i64 = 200;

/// Where the looking is: some schedules at a time, round and round, as often as the sweeper sweeps.
#[derive(Debug, Default)]
pub(super) struct Watch {
    after: Option<ScheduleId>,
    looked: Option<Instant>,
}

impl Watch {
    /// Looks at the next schedules, if it is time to.
    pub(super) async fn look(&mut self, ctx: &Context) -> Result<(), DbError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < ctx.settings.sweep) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let mut conn = ctx.pool.acquire().await?;
        let now = slots::now(&mut conn).await?;
        let live = overdue::live(&mut conn, self.after, PAGE).await?;
        self.after = live.last().map(|row| row.id).filter(|_| live.len() == usize::try_from(PAGE).unwrap_or_default());
        let ids: Vec<_> = live.iter().map(|row| row.id).collect();
        let full: Vec<_> = live.iter().map(|row| row.settings.makes_full_saves()).collect();
        let mut covered: HashMap<ScheduleId, Vec<CoveredTarget>> = HashMap::new();
        for target in overdue::covered(&mut conn, &ids, &full).await? {
            covered.entry(target.schedule_id).or_default().push(target);
        }
        for row in &live {
            // One that cannot be read the rounds tell of.
            let Ok(table) = Timetable::of(row) else { continue };
            let patterns = row.settings.discovery.as_ref();
            let targets = covered.get(&row.id).map(Vec::as_slice).unwrap_or_default();
            let targets =
                || targets.iter().filter(|one| patterns.is_none_or(|patterns| patterns.names(one.database.as_str())));
            let is_overdue = |one: &&CoveredTarget| {
                // A change begins to count anew.
                let since = row.updated_at.max(row.created_at).max(one.created_at);
                let since = one.saved_at.map_or(since, |saved| saved.max(since));
                plan::overdue_at(&table, since).is_some_and(|at| at <= now)
            };
            let late: Vec<_> = targets().filter(is_overdue).collect();
            if late.is_empty() != row.overdue_at.is_none() {
                let has_saved =
                    targets().any(|one| one.saved_at.zip(row.overdue_at).is_some_and(|(saved, since)| saved >= since));
                let mut tx = conn.begin().await?;
                let changed = if late.is_empty() {
                    overdue::take_back(&mut tx, row, has_saved).await?
                } else {
                    overdue::tell(&mut tx, row, &late).await?
                };
                tx.commit().await?;
                if changed && !late.is_empty() {
                    tracing::warn!(schedule.id = %row.id, schedule.name = %row.name, targets = late.len(), "saves are overdue");
                }
            }
        }
        Ok(())
    }
}
