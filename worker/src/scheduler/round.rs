//! One round: some schedules of which something is due are planned on, and their due slots fired, in one transaction.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use shared::{
    db::{
        DbError, outbox,
        schedules::ScheduleRow,
        slots::{self, Decided, SlotRow},
    },
    enqueue::{self, Asked, Batch, EnqueueError},
    event::NewEvent,
    failpoint,
    id::ScheduleId,
    schedule::{Overlap, SlotState},
};
use sqlx::{Connection as _, PgConnection};

use super::plan::{self, Due, SlotDecision, Timetable};
use crate::context::Context;

/// Schedules of one round: few enough that others find some too, enough that a commit is shared.
const SCHEDULES: i64 = 50;
/// Slots that one event names; it counts all.
const NAMED: usize = 100;

/// Why a round was given up, and over which schedule. Nothing of it was written.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) schedule: Option<ScheduleId>,
    pub(super) error: DbError,
}

impl From<DbError> for Failed {
    fn from(error: DbError) -> Self {
        Self { schedule: None, error }
    }
}

impl From<sqlx::Error> for Failed {
    fn from(error: sqlx::Error) -> Self {
        Self::from(DbError::from(error))
    }
}

/// Works on what is due; `except` is left alone. Answers how many schedules it was.
pub(super) async fn round(ctx: &Context, except: &[ScheduleId]) -> Result<usize, Failed> {
    let mut conn = ctx.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let now = slots::now(&mut tx).await?;
    let taken = slots::take_due(&mut tx, now, SCHEDULES, except).await?;
    if taken.is_empty() {
        return Ok(0);
    }
    let mut tables = HashMap::new();
    let (mut new, mut until, mut more_due) = (Vec::new(), Vec::new(), HashSet::new());
    for row in &taken {
        let unreadable = |problem| Failed { schedule: Some(row.id), error: unreadable(row.id, problem) };
        let table = Timetable::of(row).map_err(unreadable)?;
        let ahead = plan::plan(&table, row.planned_until, now);
        new.extend(ahead.slots);
        until.push((row.id, ahead.until));
        if ahead.more_due {
            more_due.insert(row.id);
        }
        tables.insert(row.id, table);
    }
    slots::insert_planned(&mut tx, &new).await?;
    slots::set_planned_until(&mut tx, &until).await?;

    let ids: Vec<_> = taken.iter().map(|row| row.id).collect();
    let mut due: HashMap<ScheduleId, Vec<SlotRow>> = HashMap::new();
    for slot in slots::due(&mut tx, &ids, now).await? {
        due.entry(slot.schedule_id).or_default().push(slot);
    }
    let skipping = |row: &&ScheduleRow| row.settings.overlap == Overlap::Skip && due.contains_key(&row.id);
    let skipping: Vec<_> = taken.iter().filter(skipping).map(|row| row.id).collect();
    let busy: HashSet<_> = slots::busy(&mut tx, &skipping).await?.into_iter().collect();
    let (mut decided, mut batch) = (Vec::new(), Batch::default());
    let targets: Vec<_> =
        taken.iter().filter(|row| due.contains_key(&row.id)).filter_map(|row| row.target_id).collect();
    batch.look_up(&mut tx, &targets).await?;
    for row in &taken {
        let (Some(table), Some(due)) = (tables.get(&row.id), due.get(&row.id)) else { continue };
        let moments: Vec<_> = due.iter().map(|slot| Due { at: slot.at, fires_at: slot.fires_at }).collect();
        let decisions = plan::decide(table, &moments, more_due.contains(&row.id), now);
        let mut one = One { ctx, row, is_busy: busy.contains(&row.id), has_fired: false, missed: Vec::new() };
        for (slot, decision) in due.iter().zip(decisions) {
            decided.push(one.settle(&mut tx, &mut batch, slot, decision).await?);
        }
        one.tell(&mut tx).await?;
    }
    batch.write(&mut tx).await.map_err(of_enqueue)?;
    slots::decide(&mut tx, &decided).await?;
    let ran = decided.iter().filter(|slot| slot.state == SlotState::Ran).count();
    failpoint!("schedule.commit.before");
    tx.commit().await?;
    failpoint!("schedule.commit.after");
    tracing::debug!(schedules = taken.len(), slots = decided.len(), slots.ran = ran, "a round of the scheduler");
    Ok(taken.len())
}

fn unreadable(id: ScheduleId, problem: String) -> DbError {
    DbError::Unreadable { table: "schedules", column: "expression", id: id.to_string(), problem }
}

/// A schedule of which slots are due.
struct One<'a> {
    ctx: &'a Context,
    row: &'a ScheduleRow,
    /// The jobs of an earlier slot have not ended.
    is_busy: bool,
    /// A slot of this very round has jobs now.
    has_fired: bool,
    missed: Vec<(&'a SlotRow, String)>,
}

impl<'a> One<'a> {
    /// Fires the slot, or says why not.
    async fn settle(
        &mut self,
        tx: &mut PgConnection,
        batch: &mut Batch,
        slot: &'a SlotRow,
        decision: SlotDecision,
    ) -> Result<Decided, Failed> {
        let decided = |state, reason| Decided { id: slot.id, state, reason, group_id: None };
        let made_up = match decision {
            SlotDecision::Skip(why) => return Ok(decided(SlotState::Skipped, Some(why))),
            SlotDecision::Miss(why) => {
                self.missed.push((slot, why.clone()));
                return Ok(decided(SlotState::Missed, Some(why)));
            }
            SlotDecision::Fire { made_up } => made_up,
        };
        // What is made up for together does not wait for its like.
        let overlaps = self.is_busy || (self.has_fired && !made_up);
        if overlaps && self.row.settings.overlap == Overlap::Skip {
            let why = "the jobs of the slot before have not ended".to_owned();
            return Ok(decided(SlotState::Skipped, Some(why)));
        }
        let asked = Asked::by_nobody(&self.ctx.jobs);
        match enqueue::fire(tx, self.row, &asked, batch).await {
            Ok(Ok(fired)) => {
                self.has_fired = true;
                let group_id = Some(fired.group_id);
                Ok(Decided { group_id, ..decided(SlotState::Ran, fired.left_out) })
            }
            Ok(Err(why)) => Ok(decided(SlotState::Skipped, Some(why))),
            Err(error) => Err(Failed { schedule: Some(self.row.id), error: of_enqueue(error) }),
        }
    }

    /// Tells of what nobody was there for, once per round.
    async fn tell(&self, tx: &mut PgConnection) -> Result<(), Failed> {
        let Some((first, _)) = self.missed.first() else { return Ok(()) };
        let last = self.missed.last().map_or(first.at, |(slot, _)| slot.at);
        let named = self.missed.iter().take(NAMED);
        let named: Vec<_> =
            named.map(|(slot, why)| json!({ "slot_id": slot.id, "at": slot.at, "reason": why })).collect();
        tracing::warn!(schedule.id = %self.row.id, schedule.name = %self.row.name, slots = self.missed.len(), "slots were missed");
        let event = NewEvent {
            kind: "slot.missed".to_owned(),
            subject: format!("schedules/{}", self.row.id),
            aggregate: format!("schedule:{}", self.row.id),
            service: Some(self.row.service_id),
            trace_id: None,
            data: json!({
                "schedule_id": self.row.id, "schedule": self.row.name, "count": self.missed.len(), "first_at": first.at,
                "last_at": last, "slots": named, "catch_up": self.row.settings.catch_up,
            }),
        };
        Ok(outbox::insert(tx, &event).await?)
    }
}

fn of_enqueue(error: EnqueueError) -> DbError {
    match error {
        EnqueueError::Db(error) => error,
        error => DbError::Sql(sqlx::Error::Encode(error.into())),
    }
}
