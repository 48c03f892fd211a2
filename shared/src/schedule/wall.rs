//! Between the clock on the wall of a zone and the instants of the world: a clock that is put forward skips times, one that
//! is put back shows them twice.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// Between two changes of a zone's offset from UTC there is more than this: none is stepped over.
const HOP: TimeDelta = TimeDelta::hours(6);
/// Further than any zone is from UTC, in either direction.
const FARTHEST: TimeDelta = TimeDelta::hours(16);

/// What the clock shows at an instant.
#[must_use]
pub fn shown(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// The first instant at which the clock shows this time; of a time that it skips, the first one after the gap.
#[must_use]
pub fn first_shown(zone: Tz, time: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&time) {
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at.to_utc(),
        MappedLocalTime::None => gap_end(zone, time),
    }
}

fn gap_end(zone: Tz, time: NaiveDateTime) -> DateTime<Utc> {
    let (mut from, until) = (time.and_utc() - FARTHEST, time.and_utc() + FARTHEST);
    while let Some(change) = first_change(zone, from, until) {
        if shown(zone, change) > time {
            return change;
        }
        from = change;
    }
    // Not reached: a time that is skipped lies before a change of the offset.
    until
}

/// The first instant after `from`, up to and with `until`, at which the zone is another distance from UTC than at `from`.
#[must_use]
pub fn first_change(zone: Tz, from: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix();
    let before = offset(from);
    let mut low = from;
    while low < until {
        let mut high = (low + HOP).min(until);
        if offset(high) == before {
            low = high;
            continue;
        }
        while high - low > TimeDelta::seconds(1) {
            let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
            if offset(middle) == before { low = middle } else { high = middle }
        }
        return Some(high);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn first(zone: Tz, time: &str) -> DateTime<Utc> {
        first_shown(zone, time.parse().unwrap())
    }

    #[test]
    fn a_time_that_is_skipped_is_the_first_instant_after_the_gap() {
        for (zone, time, expected) in [
            (Tz::Europe__Berlin, "2026-03-29T01:59:59", "2026-03-29T00:59:59Z"),
            (Tz::Europe__Berlin, "2026-03-29T02:00:00", "2026-03-29T01:00:00Z"),
            (Tz::Europe__Berlin, "2026-03-29T02:59:59", "2026-03-29T01:00:00Z"),
            (Tz::Europe__Berlin, "2026-03-29T03:00:00", "2026-03-29T01:00:00Z"),
            // Half an hour.
            (Tz::Australia__Lord_Howe, "2026-10-04T02:15:00", "2026-10-03T15:30:00Z"),
            // At midnight.
            (Tz::America__Santiago, "2026-09-06T00:00:00", "2026-09-06T04:00:00Z"),
            // A whole day: the island moved over the date line.
            (Tz::Pacific__Apia, "2011-12-30T12:00:00", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(first(zone, time), utc(expected), "{zone} {time}");
        }
    }

    #[test]
    fn a_time_that_comes_twice_is_the_first_of_the_two() {
        assert_eq!(first(Tz::Europe__Berlin, "2026-10-25T02:30:00"), utc("2026-10-25T00:30:00Z"));
        assert_eq!(first(Tz::Europe__Berlin, "2026-10-25T03:00:00"), utc("2026-10-25T02:00:00Z"));
        assert_eq!(first(Tz::Australia__Lord_Howe, "2026-04-05T01:45:00"), utc("2026-04-04T14:45:00Z"));
    }

    #[test]
    fn a_change_is_found_to_the_second() {
        let (from, until) = (utc("2026-01-01T00:00:00Z"), utc("2026-12-31T00:00:00Z"));
        let spring = first_change(Tz::Europe__Berlin, from, until).unwrap();
        assert_eq!(spring, utc("2026-03-29T01:00:00Z"));
        assert_eq!(first_change(Tz::Europe__Berlin, spring, until), Some(utc("2026-10-25T01:00:00Z")));
        assert_eq!(first_change(Tz::Europe__Berlin, from, spring - TimeDelta::seconds(1)), None);
        assert_eq!(first_change(Tz::Europe__Berlin, from, spring), Some(spring));
        assert_eq!(first_change(Tz::UTC, from, until), None);
    }
}
