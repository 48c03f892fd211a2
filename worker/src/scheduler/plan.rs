//! What a scheduler decides, as functions of the schedule and the instant: which moments get their slots, and what becomes
//! of the slots that are due. Nothing here knows what time it is.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use shared::{
    db::{schedules::ScheduleRow, slots::NewSlot},
    id::ScheduleId,
    schedule::{CatchUp, CronExpr, Settings, Zone, jitter},
};

/// Slots planned or decided in one go, of one schedule. A week in which nobody ran is made up of several goes.
pub(super) const AT_ONCE: usize = 500;
/// Where an expression names no further moment: when it is asked again.
const FAR: TimeDelta = TimeDelta::days(1);
/// How late a slot may be without having been missed: half the time to the next one, within these bounds.
const LATE: (TimeDelta, TimeDelta) = (TimeDelta::seconds(10), TimeDelta::minutes(5));
/// Moments outside of the windows that are passed over in the search for one inside, and the leaps that are then made: a
/// week altogether, after which windows come again.
const OUTSIDE: (usize, TimeDelta) = (1200, TimeDelta::minutes(10));

/// When a schedule fires.
#[derive(Debug, Clone)]
pub(super) struct Timetable {
    id: ScheduleId,
    expression: CronExpr,
    zone: Zone,
    settings: Settings,
    paused_at: Option<DateTime<Utc>>,
    is_deleted: bool,
}

/// The moments that get their slots, and up to where every moment then has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ahead {
    pub(super) slots: Vec<NewSlot>,
    pub(super) until: DateTime<Utc>,
    /// Whether a later moment is due too, and gets its slot in the next go.
    pub(super) more_due: bool,
}

/// A slot that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: DateTime<Utc>,
    pub(super) fires_at: DateTime<Utc>,
}

/// What becomes of it, with the reason in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SlotDecision {
    Fire {
        /// Nobody was there at its time.
        made_up: bool,
    },
    Skip(String),
    Miss(String),
}

impl Timetable {
    /// As the row says. What this version cannot read is told.
    pub(super) fn of(row: &ScheduleRow) -> Result<Self, String> {
        Ok(Self {
            id: row.id,
            expression: CronExpr::parse(&row.expression).map_err(|error| error.to_string())?,
            zone: Zone::parse(&row.zone).map_err(|error| error.to_string())?,
            settings: row.settings.0.clone(),
            paused_at: row.paused_at,
            is_deleted: row.deleted_at.is_some(),
        })
    }

    /// The first moment after an instant that the expression names.
    pub(super) fn next_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.expression.next_after(at, self.zone).next()
    }

    /// As [`next_after`](Self::next_after), of the moments that its windows let pass, where there are any.
    pub(super) fn next_open_after(&self, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut next = at;
        for step in 0..OUTSIDE.0 {
            next = self.next_after(next)?;
            if self.is_open(next) {
                return Some(next);
            }
            if step > OUTSIDE.0 / 10 {
                next += OUTSIDE.1;
            }
        }
        // They rule out all of it: that nothing is saved has to be heard all the same.
        self.next_after(at)
    }

    fn slot(&self, at: DateTime<Utc>) -> NewSlot {
        NewSlot { schedule_id: self.id, at, fires_at: at + jitter(self.id, at, self.settings.jitter_s) }
    }

    fn is_open(&self, at: DateTime<Utc>) -> bool {
        let windows = &self.settings.windows;
        windows.is_empty() || windows.iter().any(|window| window.contains(at, self.zone))
    }

    fn is_late(&self, due: Due, now: DateTime<Utc>) -> bool {
        let interval = self.next_after(due.at).map_or(LATE.1, |next| next - due.at);
        now - due.fires_at > (interval / 2).clamp(LATE.0, LATE.1)
    }
}

/// The moments after `until` that are due, and the first that is not: so each slot is there before its time comes.
pub(super) fn plan(table: &Timetable, until: DateTime<Utc>, now: DateTime<Utc>) -> Ahead {
    let mut ahead = Ahead { slots: Vec::new(), until, more_due: false };
    if table.is_deleted {
        return ahead;
    }
    while ahead.until <= now {
        if ahead.slots.len() == AT_ONCE {
            ahead.more_due = table.next_after(ahead.until).is_some_and(|next| next <= now);
            return ahead;
        }
        let Some(next) = table.next_after(ahead.until) else {
            ahead.until = now + FAR;
            return ahead;
        };
        ahead.slots.push(table.slot(next));
        ahead.until = next;
    }
    ahead
}

/// What becomes of slots that are due, in the order of their moments.
pub(super) fn decide(table: &Timetable, due: &[Due], more_due: bool, now: DateTime<Utc>) -> Vec<SlotDecision> {
    let ruled_out: Vec<_> = due.iter().map(|slot| rule_out(table, *slot, now)).collect();
    let newest = ruled_out.iter().rposition(Option::is_none).filter(|_| !more_due);
    let decide = |(index, out): (usize, Option<SlotDecision>)| {
        let late = due.get(index).is_some_and(|slot| table.is_late(*slot, now));
        match (out, table.settings.catch_up) {
            (Some(decision), _) => decision,
            (None, _) if !late => SlotDecision::Fire { made_up: false },
            (None, _) if !table.is_open(now) => {
                SlotDecision::Miss(format!("{NOBODY}, and now is outside of the schedule's windows"))
            }
            (None, CatchUp::None) => SlotDecision::Miss(format!("{NOBODY}, and the schedule makes up for nothing")),
            (None, CatchUp::Last) if newest != Some(index) => {
                SlotDecision::Miss(format!("{NOBODY}, and a later one stands for it"))
            }
            (None, CatchUp::Last | CatchUp::All) => SlotDecision::Fire { made_up: true },
        }
    };
    ruled_out.into_iter().enumerate().map(decide).collect()
}

const NOBODY: &str = "no scheduler ran at its time";

/// What becomes of a slot whatever else is due.
fn rule_out(table: &Timetable, slot: Due, now: DateTime<Utc>) -> Option<SlotDecision> {
    if table.is_deleted {
        return Some(SlotDecision::Skip("the schedule was deleted".to_owned()));
    }
    if let Some(since) = table.paused_at {
        let paused = format!("the schedule is paused since {}", since.to_rfc3339_opts(SecondsFormat::Secs, true));
        // What was due before the pause nobody has skipped.
        return Some(if slot.fires_at < since && table.is_late(slot, now) {
            SlotDecision::Miss(format!("{NOBODY}, and {paused}"))
        } else {
            SlotDecision::Skip(paused)
        });
    }
    if !table.is_open(slot.fires_at) {
        return Some(SlotDecision::Skip("it is outside of the schedule's windows".to_owned()));
    }
    None
}

/// When a target of the schedule is overdue that has last been saved, or has first been covered, at `since`: one and a half
/// intervals later, and not before half an interval has gone by since something was to happen. None: nothing is to happen.
pub(super) fn overdue_at(table: &Timetable, since: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let next = table.next_open_after(since)?;
    let interval = table.next_open_after(next)? - next;
    let jitter = TimeDelta::seconds(i64::from(table.settings.jitter_s));
    Some((since + interval + interval / 2).max(next + interval / 2) + jitter)
}

#[cfg(test)]
mod tests;
