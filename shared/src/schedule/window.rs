//! Maintenance windows: when a schedule may fire.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, Utc};

use super::{
    settings::{Settings, Window},
    wall::{first_shown, shown},
    zone::Zone,
};

impl Settings {
    /// Whether it may fire at this instant: in one of the windows, or always where there is none.
    #[must_use]
    pub fn may_fire(&self, at: DateTime<Utc>, zone: Zone) -> bool {
        self.windows.is_empty() || self.windows.iter().any(|window| window.contains(at, zone))
    }
}

impl Window {
    /// Whether an instant lies in it. It opens at the first instant at which the clock shows `from` on one of its days, and
    /// closes at the first at which it shows `until`: when the clock is put back in between it is the longer, when it is put
    /// forward the shorter. What cannot be parsed holds nothing ([`Settings::check`] refuses it).
    #[must_use]
    pub fn contains(&self, at: DateTime<Utc>, zone: Zone) -> bool {
        let (Some(from), Some(until)) = (wall_time(&self.from), wall_time(&self.until)) else { return false };
        let today = shown(zone.0, at).date();
        // It is at most a day long; and a clock that is put back over midnight shows the day before again.
        let days = [today.pred_opt(), Some(today), today.succ_opt()];
        days.into_iter().flatten().any(|day| {
            let closes_on = if until > from { Some(day) } else { day.checked_add_days(Days::new(1)) };
            let Some(closes_on) = closes_on.filter(|_| self.begins_on(day)) else { return false };
            first_shown(zone.0, day.and_time(from)) <= at && at < first_shown(zone.0, closes_on.and_time(until))
        })
    }

    fn begins_on(&self, day: NaiveDate) -> bool {
        let number = day.weekday().num_days_from_sunday();
        self.days.is_empty() || self.days.iter().any(|named| u32::from(named % 7) == number)
    }
}

/// `HH:MM`, with two digits each.
pub(super) fn wall_time(text: &str) -> Option<NaiveTime> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    NaiveTime::from_hms_opt(number(hour)?, number(minute)?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[u8], from: &str, until: &str) -> Window {
        Window { days: days.to_vec(), from: from.to_owned(), until: until.to_owned() }
    }

    fn holds(window: &Window, zone: &str, at: &str) -> bool {
        window.contains(at.parse().unwrap(), Zone::parse(zone).unwrap())
    }

    #[test]
    fn times_of_the_clock_have_two_digits_each() {
        assert_eq!(wall_time("22:05"), NaiveTime::from_hms_opt(22, 5, 0));
        for bad in ["", "22", "24:00", "7:00", "07:0", "07:60", "+7:00", "07:00:00", "07.00", "ab:cd", "０7:00"] {
            assert_eq!(wall_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_window_within_a_day_and_one_over_midnight() {
        let day = window(&[], "09:00", "17:00");
        let night = window(&[], "22:00", "06:00");
        for (time, in_day, in_night) in [
            ("08:59:59", false, false),
            ("09:00:00", true, false),
            ("16:59:59", true, false),
            ("17:00:00", false, false),
            ("22:00:00", false, true),
            ("00:00:00", false, true),
            ("05:59:59", false, true),
            ("06:00:00", false, false),
        ] {
            let at = format!("2026-07-01T{time}Z");
            assert_eq!((holds(&day, "UTC", &at), holds(&night, "UTC", &at)), (in_day, in_night), "{time}");
        }
        assert!(holds(&window(&[], "06:00", "06:00"), "UTC", "2026-07-01T05:59:59Z"), "a whole day");
    }

    #[test]
    fn its_days_are_those_on_which_it_begins() {
        // 2026-07-03 is a Friday.
        let friday = window(&[5], "22:00", "06:00");
        for (at, expected) in [
            ("2026-07-03T21:59:00Z", false),
            ("2026-07-03T22:00:00Z", true),
            ("2026-07-04T05:00:00Z", true),
            ("2026-07-04T22:00:00Z", false),
            ("2026-07-03T05:00:00Z", false),
        ] {
            assert_eq!(holds(&friday, "UTC", at), expected, "{at}");
        }
        for sunday in [0, 7] {
            assert!(holds(&window(&[sunday], "01:00", "02:00"), "UTC", "2026-07-05T01:30:00Z"), "{sunday}");
        }
    }

    #[test]
    fn it_is_read_on_the_clock_of_the_zone_on_both_sides_of_a_change() {
        let night = window(&[], "22:00", "06:00");
        for (at, expected) in [
            // Berlin goes from +1 to +2 on 2026-03-29, and back on 2026-10-25.
            ("2026-03-28T20:59:59Z", false),
            ("2026-03-28T21:00:00Z", true),
            ("2026-03-29T03:59:59Z", true),
            ("2026-03-29T04:00:00Z", false),
            ("2026-03-29T20:00:00Z", true),
            ("2026-10-24T20:00:00Z", true),
            ("2026-10-25T04:59:59Z", true),
            ("2026-10-25T05:00:00Z", false),
            ("2026-10-25T20:59:59Z", false),
            ("2026-10-25T21:00:00Z", true),
        ] {
            assert_eq!(holds(&night, "Europe/Berlin", at), expected, "{at}");
        }
    }

    #[test]
    fn its_ends_may_be_skipped_or_come_twice() {
        // It would open at 02:30, which there is not: it opens at 03:00, an hour after 01:59.
        let opens = window(&[], "02:30", "05:00");
        assert!(!holds(&opens, "Europe/Berlin", "2026-03-29T00:59:59Z"));
        assert!(holds(&opens, "Europe/Berlin", "2026-03-29T01:00:00Z"));
        // 02:30 comes twice: it closes at the first, and does not open again when the clock shows 02:15 once more.
        let closes = window(&[], "22:00", "02:30");
        assert!(holds(&closes, "Europe/Berlin", "2026-10-25T00:29:59Z"));
        assert!(!holds(&closes, "Europe/Berlin", "2026-10-25T00:30:00Z"));
        assert!(!holds(&closes, "Europe/Berlin", "2026-10-25T01:15:00Z"));
        // What one leaves the other holds.
        let rest = window(&[], "02:30", "22:00");
        for minute in 0..2 * 24 * 60 {
            let at = "2026-10-24T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + chrono::TimeDelta::minutes(minute);
            let zone = Zone::parse("Europe/Berlin").unwrap();
            assert!(closes.contains(at, zone) != rest.contains(at, zone), "{at}");
        }
    }
}
