//! Which saves of a target a schedule's retention keeps, and which it removes, with every reason (guarantees C4, C5). Pure: what
//! it is given is all that it looks at.
//!
//! The order of saves is that of their versions, which have no twins; days and weeks are those of the database's clock, in the
//! schedule's zone. A save whose date does not fit its version is kept and counts for nothing, as a clock that jumped must not
//! make anything look old. Of periods only those count that have a save, the newest save of each stays, and "within" is counted
//! back from the newest save (all as restic does it): time that goes by alone removes nothing.

#[cfg(test)]
mod histories;

use std::{cmp::Reverse, collections::HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::Retention;
use crate::{
    id::SaveId,
    save::{Origin, SaveState, Scope},
};

/// A save of the target, whatever it is. Those that are gone, or going, are passed over.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of design §4, as the row has them")]
pub struct Candidate {
    pub id: SaveId,
    pub version: i32,
    pub state: SaveState,
    pub scope: Scope,
    pub origin: Origin,
    /// Whether the schedule asked for it.
    pub is_own: bool,
    pub valid: bool,
    pub verified: bool,
    pub suspicious: bool,
    pub pinned: bool,
    /// A job reads it, waits to read it or still makes it, or somebody downloads it.
    pub in_use: bool,
    /// By the database's clock.
    pub created_at: DateTime<Utc>,
    /// Of one copy.
    pub stored_bytes: Option<i64>,
}

words! {
    /// Why retention removes nothing of a target.
    Cause {
        /// Its newest backup failed.
        Failed = "failed",
        /// Its newest backup is out of line with those before it, and nobody has accepted it.
        Suspicious = "suspicious",
    }
}

/// What keeps retention from removing anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RetentionBlock))]
pub struct Block {
    pub cause: Cause,
    /// The target's newest backup.
    pub save_id: SaveId,
    pub version: i32,
    /// In words, with what to do about it.
    pub reason: String,
}

words! {
    /// What becomes of a save.
    Fate { Keep = "keep", Remove = "remove" }
}

/// What becomes of a save, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub save_id: SaveId,
    pub version: i32,
    pub created_at: DateTime<Utc>,
    pub stored_bytes: Option<i64>,
    /// Whether the schedule asked for it.
    pub is_own: bool,
    pub fate: Fate,
    /// All of them: whatever keeps it, or why none of the rules does.
    pub reasons: Vec<String>,
}

/// A verdict on each save of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Nothing is removed now; the verdicts say what would be.
    pub blocked: Option<Block>,
    /// The newest first.
    pub verdicts: Vec<Verdict>,
}

impl Plan {
    /// What is to be removed now, the oldest first: nothing while it is blocked.
    pub fn removals(&self) -> impl Iterator<Item = &Verdict> {
        let verdicts: &[Verdict] = if self.blocked.is_some() { &[] } else { &self.verdicts };
        verdicts.iter().rev().filter(|verdict| verdict.fate == Fate::Remove)
    }
}

/// A clock is set right by so much now and then.
const STEP: TimeDelta = TimeDelta::hours(1);

/// Judges each of the target's saves.
#[must_use]
pub fn plan(saves: &[Candidate], rules: &Retention, zone: Tz, now: DateTime<Utc>) -> Plan {
    let mut saves: Vec<&Candidate> = saves.iter().filter(|save| is_there(save)).collect();
    saves.sort_unstable_by_key(|save| Reverse(save.version));
    let mut ledger = Ledger::of(&saves, now);
    ledger.apply(rules, zone);
    Plan { blocked: block(&saves), verdicts: ledger.verdicts(rules.has_rules()) }
}

impl Retention {
    /// Whether any rule says what to remove; without one everything stays.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        let Self { last, hourly, daily, weekly, monthly, yearly, within_days, verified: _ } = self;
        [last, hourly, daily, weekly, monthly, yearly, within_days].into_iter().any(|rule| rule.unwrap_or_default() > 0)
    }

    /// The newest verified saves that stay whatever else is said: at least one.
    #[must_use]
    pub fn verified_floor(&self) -> usize {
        count(self.verified).max(1)
    }
}

fn count(rule: Option<u32>) -> usize {
    usize::try_from(rule.unwrap_or_default()).unwrap_or(usize::MAX)
}

fn is_there(save: &Candidate) -> bool {
    !matches!(save.state, SaveState::Deleting | SaveState::Deleted)
}

/// What retention may remove at all.
fn is_touchable(save: &Candidate) -> bool {
    save.is_own && save.origin == Origin::Schedule && save.scope == Scope::Full && save.state == SaveState::Available
}

/// What the rules count: a save that is invalid or suspicious stands for no day.
fn is_counted(save: &Candidate) -> bool {
    is_touchable(save) && save.valid && !save.suspicious
}

/// What the target's newest backup keeps from happening. A dump that somebody brought, or that a restore made first, says
/// nothing about the nights.
fn block(saves: &[&Candidate]) -> Option<Block> {
    let newest = saves.iter().find(|save| {
        save.scope == Scope::Full
            && matches!(save.origin, Origin::Schedule | Origin::Manual)
            && matches!(save.state, SaveState::Available | SaveState::Failed)
    })?;
    let (cause, reason) = if newest.state == SaveState::Failed {
        (Cause::Failed, "failed: nothing is removed until a backup succeeds, or the failed save is deleted")
    } else if newest.suspicious {
        (
            Cause::Suspicious,
            "is suspicious: nothing is removed until it is accepted or deleted, or a newer one is sound",
        )
    } else {
        return None;
    };
    let reason = format!("the target's newest backup, version {}, {reason}", newest.version);
    Some(Block { cause, save_id: newest.id, version: newest.version, reason })
}

/// What speaks for each save, and what the rules say against it.
struct Ledger<'a> {
    /// The newest first.
    saves: &'a [&'a Candidate],
    /// By place in `saves`.
    keeps: Vec<Vec<String>>,
    against: Vec<Vec<String>>,
    /// The places that rules count.
    counted: Vec<usize>,
    /// Of these, those whose date can be believed.
    dated: Vec<usize>,
}

impl<'a> Ledger<'a> {
    fn of(saves: &'a [&'a Candidate], now: DateTime<Utc>) -> Self {
        let counted: Vec<usize> = (0..saves.len()).filter(|at| is_counted(saves[*at])).collect();
        let moments: Vec<DateTime<Utc>> = counted.iter().map(|at| saves[*at].created_at).collect();
        let doubts = doubts(&moments, now);
        let dated = counted.iter().zip(&doubts).filter(|(_, doubt)| !**doubt).map(|(at, _)| *at).collect();
        let mut this = Self {
            saves,
            keeps: vec![Vec::new(); saves.len()],
            against: vec![Vec::new(); saves.len()],
            counted,
            dated,
        };
        let doubtful: Vec<usize> =
            this.counted.iter().zip(&doubts).filter(|(_, doubt)| **doubt).map(|(at, _)| *at).collect();
        for at in doubtful {
            this.keep(
                at,
                "its date does not fit its version, as if a clock had jumped: it stays until somebody deletes it",
            );
        }
        this
    }

    fn keep(&mut self, at: usize, reason: impl Into<String>) {
        self.keeps[at].push(reason.into());
    }

    fn apply(&mut self, rules: &Retention, zone: Tz) {
        for at in 0..self.saves.len() {
            if let Some(reason) = untouchable(self.saves[at]) {
                self.keep(at, reason);
            }
            if self.saves[at].pinned {
                self.keep(at, "it is pinned");
            }
            if self.saves[at].in_use {
                self.keep(at, "it is in use");
            }
        }
        if let Some(newest) = self.saves.iter().position(|save| is_touchable(save)) {
            self.keep(newest, "it is the schedule's newest save");
        }
        if let Some(newest) = self.counted.first().copied() {
            self.keep(newest, "it is the schedule's newest valid save");
        }
        let floor = rules.verified_floor();
        let verified: Vec<usize> = self.counted.iter().copied().filter(|at| self.saves[*at].verified).collect();
        for at in verified.into_iter().take(floor) {
            self.keep(at, format!("verified: one of the newest {floor}"));
        }
        self.last(count(rules.last));
        let periods: [(&str, Option<u32>, &str); 5] = [
            ("hourly", rules.hourly, "%Y-%m-%d %H:00 %:z"),
            ("daily", rules.daily, "%Y-%m-%d"),
            ("weekly", rules.weekly, "%G-W%V"),
            ("monthly", rules.monthly, "%Y-%m"),
            ("yearly", rules.yearly, "%Y"),
        ];
        for (word, most, name) in periods {
            self.period(word, count(most), |at| at.with_timezone(&zone).format(name).to_string());
        }
        self.within(rules.within_days.unwrap_or_default());
    }

    fn last(&mut self, most: usize) {
        if most == 0 {
            return;
        }
        for (place, at) in self.counted.clone().into_iter().enumerate() {
            if place < most {
                self.keep(at, format!("last: {} of {most}", place + 1));
            } else {
                self.against[at].push(format!("last: not among the newest {most}"));
            }
        }
    }

    /// The newest of each period, for the newest periods that have a save.
    fn period(&mut self, word: &str, most: usize, name: impl Fn(DateTime<Utc>) -> String) {
        if most == 0 {
            return;
        }
        let mut newest: HashMap<String, i32> = HashMap::new();
        for at in self.dated.clone() {
            let save = self.saves[at];
            let period = name(save.created_at);
            if let Some(version) = newest.get(&period) {
                self.against[at].push(format!("{word}: version {version} stands for {period}"));
            } else if newest.len() < most {
                self.keep(at, format!("{word}: the newest of {period}, {} of {most}", newest.len() + 1));
                newest.insert(period, save.version);
            } else {
                self.against[at].push(format!("{word}: {period} is before the {most} that are kept"));
            }
        }
    }

    fn within(&mut self, days: u32) {
        let Some(newest) = self.dated.first().map(|at| self.saves[*at].created_at) else { return };
        if days == 0 {
            return;
        }
        for at in self.dated.clone() {
            if newest - self.saves[at].created_at <= TimeDelta::days(days.into()) {
                self.keep(at, format!("within_days: at most {days} days older than the newest"));
            } else {
                self.against[at].push(format!("within_days: more than {days} days older than the newest"));
            }
        }
    }

    fn verdicts(self, has_rules: bool) -> Vec<Verdict> {
        let notes = self.keeps.into_iter().zip(self.against);
        self.saves
            .iter()
            .zip(notes)
            .map(|(save, (mut keeps, against))| {
                if !has_rules && is_touchable(save) {
                    keeps.push("no rule says what to remove".to_owned());
                }
                let (fate, reasons) = if keeps.is_empty() { (Fate::Remove, against) } else { (Fate::Keep, keeps) };
                Verdict {
                    save_id: save.id,
                    version: save.version,
                    created_at: save.created_at,
                    stored_bytes: save.stored_bytes,
                    is_own: save.is_own,
                    fate,
                    reasons,
                }
            })
            .collect()
    }
}

/// Why retention leaves the save alone, whatever the rules say.
fn untouchable(save: &Candidate) -> Option<&'static str> {
    Some(match save {
        Candidate { origin: Origin::Manual, .. } => "a person asked for it",
        Candidate { origin: Origin::Safety, .. } => "a restore made it first",
        Candidate { origin: Origin::Import, .. } => "somebody brought it",
        Candidate { origin: Origin::Copy, .. } => "it is a copy of another",
        Candidate { is_own: false, .. } => "it is another schedule's",
        Candidate { state: SaveState::Pending, .. } => "it is still being made",
        Candidate { state: SaveState::Failed, .. } => "it failed and holds nothing",
        Candidate { scope: Scope::Partial, .. } => "it is partial: retention looks at full saves alone",
        Candidate { valid: false, .. } => "it is invalid and stands for nothing: it stays until somebody deletes it",
        Candidate { suspicious: true, .. } => "it is suspicious and stands for nothing until it is accepted",
        _ => return None,
    })
}

/// Which of these dates, those of the newest saves first, cannot be believed: what is yet to come, and each of two that
/// contradict the order of their versions, as nothing says which of them is wrong. Whatever else is removed, they stay in doubt.
fn doubts(dates: &[DateTime<Utc>], now: DateTime<Utc>) -> Vec<bool> {
    let mut doubts: Vec<bool> = dates.iter().map(|date| *date > now + STEP).collect();
    let past: Vec<usize> = (0..dates.len()).filter(|at| !doubts[*at]).collect();
    let mut earliest_of_newer: Option<DateTime<Utc>> = None;
    for at in &past {
        if earliest_of_newer.is_some_and(|newer| dates[*at] > newer + STEP) {
            doubts[*at] = true;
        }
        earliest_of_newer = Some(earliest_of_newer.map_or(dates[*at], |newer| newer.min(dates[*at])));
    }
    let mut latest_of_older: Option<DateTime<Utc>> = None;
    for at in past.iter().rev() {
        if latest_of_older.is_some_and(|older| older > dates[*at] + STEP) {
            doubts[*at] = true;
        }
        latest_of_older = Some(latest_of_older.map_or(dates[*at], |older| older.max(dates[*at])));
    }
    doubts
}
