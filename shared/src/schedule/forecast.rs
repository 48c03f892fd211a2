//! What a schedule will store in twelve months: the saves that its retention would leave of the nights to come.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Candidate, Fate, Retention, plan};
use crate::{
    id::SaveId,
    save::{Origin, SaveState, Scope},
};

const YEAR: TimeDelta = TimeDelta::days(365);
/// Of what fires more often than hourly, so many of the latest are looked at one by one, and of those before one an hour: no rule
/// looks closer.
const CLOSE: usize = 5_000;

/// How many saves a schedule has of a target in twelve months, if it goes on as it did: those of now and one every `interval`,
/// of which retention leaves what it would leave then. Without rules all stay. Saves that are not the schedule's are not counted.
#[must_use]
pub fn saves_in_a_year(
    saves: &[Candidate],
    interval: TimeDelta,
    rules: &Retention,
    zone: Tz,
    now: DateTime<Utc>,
) -> usize {
    let interval = interval.max(TimeDelta::seconds(1));
    let nights = usize::try_from(YEAR.num_seconds() / interval.num_seconds().max(1)).unwrap_or(usize::MAX);
    let mut all: Vec<Candidate> =
        saves.iter().filter(|save| save.is_own && save.state == SaveState::Available).cloned().collect();
    if !rules.has_rules() {
        return all.len().saturating_add(nights);
    }
    let newest = all.iter().map(|save| save.version).max().unwrap_or_default();
    let end = now + YEAR;
    let mut back = TimeDelta::zero();
    for n in 0..nights {
        if back >= YEAR {
            break;
        }
        let version = newest.saturating_add(i32::MAX / 2).saturating_sub(i32::try_from(n).unwrap_or(i32::MAX));
        all.push(Candidate {
            id: SaveId(uuid::Uuid::nil()),
            version,
            state: SaveState::Available,
            scope: Scope::Full,
            origin: Origin::Schedule,
            is_own: true,
            valid: true,
            verified: false,
            suspicious: false,
            pinned: false,
            in_use: false,
            created_at: end - back,
            stored_bytes: None,
        });
        back += if n < CLOSE { interval } else { interval.max(TimeDelta::hours(1)) };
    }
    plan(&all, rules, zone, end).verdicts.iter().filter(|verdict| verdict.fate == Fate::Keep).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_nights_comes_down_to_what_the_rules_keep() {
        let now: DateTime<Utc> = "2026-11-22T05:00:00Z".parse().unwrap();
        let saves = |rules: &Retention, interval: TimeDelta| saves_in_a_year(&[], interval, rules, chrono_tz::UTC, now);
        let night = TimeDelta::days(1);
        let rule =
            |daily: u32, monthly: u32| Retention { daily: Some(daily), monthly: Some(monthly), ..Retention::default() };
        assert_eq!(saves(&Retention::default(), night), 365);
        assert_eq!(saves(&rule(14, 0), night), 14);
        // The newest of this month is among the days; eleven months before it.
        assert_eq!(saves(&rule(14, 12), night), 14 + 11);
        // A year of weeks holds no more than a year of weeks.
        assert_eq!(saves(&Retention { weekly: Some(500), ..Retention::default() }, night), 53);
        assert_eq!(saves(&Retention { within_days: Some(30), ..Retention::default() }, night), 31);
        assert_eq!(saves(&Retention { last: Some(7), ..Retention::default() }, TimeDelta::minutes(5)), 7);
        assert_eq!(saves(&Retention::default(), TimeDelta::minutes(5)), 105_120);
        let rules = Retention { hourly: Some(24), yearly: Some(1), ..rule(7, 12) };
        // Of the seven days two are among the hours: the newest of today, and that of yesterday's last hour.
        assert_eq!(saves(&rules, TimeDelta::minutes(5)), 24 + 5 + 11);
    }
}
