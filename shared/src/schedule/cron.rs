//! Cron expressions as Unix means them, on the clock of a time zone.
//!
//! An expression is rewritten for the `cron` crate, of which only the walk over naive times is used
//! (docs/adr/0030-cron-expressions.md). What that means where a clock is put forward or back is decided here:
//!
//! - An expression whose hours are not all 24 names *times of the day*. Each fires at the first instant at which the clock
//!   shows it: a time that comes twice fires the first time alone, and times that are skipped fire together at the first
//!   instant after the gap, once, and not again if that instant is named too.
//! - An expression whose hours are all 24 *runs on*: it fires at every instant at which the clock shows a time that it names,
//!   be it for the second time. `*/15 * * * *` thereby neither doubles nor loses a quarter of an hour.

use std::{fmt, str::FromStr};

use chrono::{DateTime, DurationRound, NaiveDateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{
    field::{Field, Values},
    wall::{first_change, first_shown, shown},
    zone::Zone,
};

/// A parsed cron expression that fires at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronExpr {
    text: String,
    /// Two where either of two kinds of days counts.
    walks: Vec<::cron::Schedule>,
    /// It fires on in an hour that comes twice, and makes up for nothing that is skipped.
    runs_on: bool,
}

/// Why a text is no cron expression.
#[derive(Debug, thiserror::Error)]
pub enum CronError {
    #[error(
        "is empty: give five fields (minute, hour, day of month, month, day of week), six with seconds first, or a word such as @daily"
    )]
    Empty,
    #[error("has {0} fields: give five (minute, hour, day of month, month, day of week), or six with seconds first")]
    Fields(usize),
    #[error("is longer than {MAX_LEN} bytes")]
    TooLong,
    #[error("{0:?} is not known: there are @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly")]
    Word(String),
    #[error("{}: {what}; allowed are {}, lists (1,2), ranges (1-5), steps (*/2, 1-9/2) and *", .field.name(), .field.allowed())]
    Field { field: Field, what: String },
    #[error("never fires: no month of those that it names has such a day")]
    Never,
    #[error("cannot be walked")]
    Walk(#[source] Box<::cron::error::Error>),
}

impl CronError {
    /// The same text is refused again.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        true
    }
}

/// The longest expression, in bytes.
const MAX_LEN: usize = 500;

impl CronExpr {
    /// Parses an expression of five fields, of six with seconds first, or a word such as `@daily`.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        if text.len() > MAX_LEN {
            return Err(CronError::TooLong);
        }
        let plain = if text.starts_with('@') { word(text)? } else { text };
        let fields: Vec<&str> = plain.split_ascii_whitespace().collect();
        let (second, [minute, hour, day, month, weekday]) = match *fields.as_slice() {
            [] => return Err(CronError::Empty),
            [minute, hour, day, month, weekday] => ("0", [minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => (second, [minute, hour, day, month, weekday]),
            _ => return Err(CronError::Fields(fields.len())),
        };
        let second = Values::parse(Field::Second, second)?.rewritten(Field::Second);
        let minute = Values::parse(Field::Minute, minute)?.rewritten(Field::Minute);
        let hours = Values::parse(Field::Hour, hour)?;
        let days = Values::parse(Field::DayOfMonth, day)?;
        let month = Values::parse(Field::Month, month)?.rewritten(Field::Month);
        let weekdays = Values::parse(Field::DayOfWeek, weekday)?;
        let time = format!("{second} {minute} {}", hours.rewritten(Field::Hour));
        let (day, weekday) = (days.rewritten(Field::DayOfMonth), weekdays.rewritten(Field::DayOfWeek));
        let walked = if days.is_star || weekdays.is_star {
            vec![format!("{time} {day} {month} {weekday}")]
        } else {
            // Both are restricted: a day of either kind counts.
            vec![format!("{time} {day} {month} *"), format!("{time} * {month} {weekday}")]
        };
        let walks = walked.iter().map(|text| ::cron::Schedule::from_str(text)).collect::<Result<Vec<_>, _>>();
        let walks = walks.map_err(|error| CronError::Walk(Box::new(error)))?;
        let expr = Self { text: text.to_owned(), walks, runs_on: hours.is_all(Field::Hour) };
        expr.named_after(DateTime::UNIX_EPOCH.naive_utc()).ok_or(CronError::Never)?;
        Ok(expr)
    }

    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The instants at which it fires after this one, in order; it ends with the year 2100.
    pub fn next_after(&self, after: DateTime<Utc>, zone: Zone) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        // An instant within a second comes after the beginning of that second.
        let after = after.duration_trunc(TimeDelta::seconds(1)).unwrap_or(after);
        std::iter::successors(Some(after), move |at| self.next(*at, zone)).skip(1)
    }

    /// How long it is between the last firing up to an instant and the first one after it. None: there are not both, between
    /// 1970 and 2100.
    #[must_use]
    pub fn interval_at(&self, at: DateTime<Utc>, zone: Zone) -> Option<TimeDelta> {
        let next = self.next(at.duration_trunc(TimeDelta::seconds(1)).ok()?, zone)?;
        Some(next - self.last_until(at, zone)?)
    }

    /// The last firing up to an instant and with it.
    #[must_use]
    pub fn last_until(&self, at: DateTime<Utc>, zone: Zone) -> Option<DateTime<Utc>> {
        // Further back by steps that grow, so that few firings are walked through however often it fires.
        let mut back = TimeDelta::minutes(1);
        loop {
            let from = (at - back).max(DateTime::UNIX_EPOCH);
            let last = self.next_after(from, zone).take_while(|fires| *fires <= at).last();
            if last.is_some() || from == DateTime::UNIX_EPOCH {
                return last;
            }
            back = back * 4;
        }
    }

    fn next(&self, after: DateTime<Utc>, zone: Zone) -> Option<DateTime<Utc>> {
        if self.runs_on { self.next_running_on(after, zone) } else { self.next_first_shown(after, zone) }
    }

    /// Of times of the day.
    fn next_first_shown(&self, after: DateTime<Utc>, Zone(zone): Zone) -> Option<DateTime<Utc>> {
        let mut time = shown(zone, after);
        loop {
            time = self.named_after(time)?;
            let at = first_shown(zone, time);
            // Not the second time that the clock shows it, and not a time that was skipped just before.
            if at > after {
                return Some(at);
            }
        }
    }

    /// Of what runs on: from one change of the clock to the next, between which it goes evenly.
    fn next_running_on(&self, after: DateTime<Utc>, Zone(zone): Zone) -> Option<DateTime<Utc>> {
        let (mut from, mut showed) = (after, shown(zone, after));
        let mut time = self.named_after(showed)?;
        loop {
            let at = from + (time - showed);
            let Some(change) = first_change(zone, from, at) else { return Some(at) };
            (from, showed) = (change, shown(zone, change));
            // The time that the change brings may itself be named.
            time = self.named_after(showed - TimeDelta::seconds(1))?;
        }
    }

    /// The first time after this one that it names, whatever any clock does.
    fn named_after(&self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        self.walks.iter().filter_map(|walk| walk.after(&time.and_utc()).next()).min().map(|time| time.naive_utc())
    }
}

fn word(text: &str) -> Result<&'static str, CronError> {
    match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => Ok("0 0 1 1 *"),
        "@monthly" => Ok("0 0 1 * *"),
        "@weekly" => Ok("0 0 * * 0"),
        "@daily" | "@midnight" => Ok("0 0 * * *"),
        "@hourly" => Ok("0 * * * *"),
        _ => Err(CronError::Word(text.chars().take(20).collect())),
    }
}

impl fmt::Display for CronExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for CronExpr {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        Self::parse(&text)
    }
}

impl From<CronExpr> for String {
    fn from(expr: CronExpr) -> Self {
        expr.text
    }
}

#[cfg(test)]
mod tests;
