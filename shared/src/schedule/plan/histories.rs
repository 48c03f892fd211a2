//! Ten thousand random histories, and what must hold of every plan (guarantees C4, C5), said without the planner's words.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{Datelike, NaiveDate, TimeZone, Timelike};

use super::*;

const ZONES: [Tz; 6] = [
    chrono_tz::UTC,
    chrono_tz::Europe::Prague,
    chrono_tz::America::New_York,
    chrono_tz::Asia::Kathmandu,
    chrono_tz::Pacific::Apia,
    chrono_tz::Australia::Lord_Howe,
];

/// Splitmix64: the same histories on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    /// True once in `n`.
    fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn rule(&mut self, most: u64) -> Option<u32> {
        (!self.once_in(3)).then(|| u32::try_from(self.below(most + 1)).unwrap())
    }

    fn rules(&mut self) -> Retention {
        Retention {
            last: self.rule(5),
            hourly: self.rule(6),
            daily: self.rule(8),
            weekly: self.rule(5),
            monthly: self.rule(4),
            yearly: self.rule(2),
            within_days: self.rule(12),
            verified: self.rule(3),
        }
    }

    /// Nights, hours, whole months between; people, restores and imports; failures, damage, suspicion, pins; and, where wanted,
    /// clocks that jump.
    fn history(&mut self, jumps: bool) -> (Vec<Candidate>, DateTime<Utc>) {
        let mut clock =
            Utc.with_ymd_and_hms(2024, 1, 1, 0, 0, 0).unwrap() + TimeDelta::hours(self.below(24 * 700).cast_signed());
        let pace = [TimeDelta::minutes(20), TimeDelta::hours(5), TimeDelta::days(1), TimeDelta::days(9)]
            [usize::try_from(self.below(4)).unwrap()];
        let mut saves = Vec::new();
        let mut jumped = TimeDelta::zero();
        for n in 0..self.below(60) {
            clock += pace + TimeDelta::seconds(self.below(3600).cast_signed());
            if self.once_in(25) {
                clock += TimeDelta::days(self.below(200).cast_signed());
            }
            if jumps && self.once_in(15) {
                // Away and, sooner or later, back.
                jumped = [
                    TimeDelta::zero(),
                    TimeDelta::days(365),
                    -TimeDelta::days(365),
                    TimeDelta::minutes(-7),
                    TimeDelta::days(-3),
                ][usize::try_from(self.below(5)).unwrap()];
            }
            let state = match self.below(12) {
                0 => SaveState::Failed,
                1 => [SaveState::Pending, SaveState::Deleting, SaveState::Deleted]
                    [usize::try_from(self.below(3)).unwrap()],
                _ => SaveState::Available,
            };
            let origin = match self.below(10) {
                0 => Origin::Manual,
                1 => [Origin::Safety, Origin::Import, Origin::Copy][usize::try_from(self.below(3)).unwrap()],
                _ => Origin::Schedule,
            };
            saves.push(Candidate {
                id: SaveId::generate(),
                version: i32::try_from(n * 2 + 1).unwrap(),
                state,
                scope: if self.once_in(9) { Scope::Partial } else { Scope::Full },
                origin,
                is_own: origin == Origin::Schedule && !self.once_in(6),
                valid: !self.once_in(10),
                verified: self.once_in(5),
                suspicious: self.once_in(12),
                pinned: self.once_in(14),
                in_use: self.once_in(14),
                created_at: clock + jumped,
                stored_bytes: Some(1),
            });
        }
        // In no order.
        for at in (1..saves.len()).rev() {
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap();
            saves.swap(at, other);
        }
        (saves, clock + TimeDelta::minutes(30))
    }
}

fn removed(saves: &[Candidate], rules: &Retention, zone: Tz, now: DateTime<Utc>) -> BTreeSet<SaveId> {
    plan(saves, rules, zone, now).removals().map(|verdict| verdict.save_id).collect()
}

/// What would be removed were it not for the target's newest backup.
fn removable(saves: &[Candidate], rules: &Retention, zone: Tz, now: DateTime<Utc>) -> BTreeSet<SaveId> {
    let plan = plan(saves, rules, zone, now);
    plan.verdicts.iter().filter(|verdict| verdict.fate == Fate::Remove).map(|verdict| verdict.save_id).collect()
}

fn without(saves: &[Candidate], gone: &BTreeSet<SaveId>) -> Vec<Candidate> {
    saves.iter().filter(|save| !gone.contains(&save.id)).cloned().collect()
}

/// Sound saves of the schedule, the oldest first.
fn sound(saves: &[Candidate]) -> Vec<&Candidate> {
    let mut sound: Vec<&Candidate> = saves
        .iter()
        .filter(|s| {
            s.is_own && s.origin == Origin::Schedule && s.scope == Scope::Full && s.state == SaveState::Available
        })
        .filter(|s| s.valid && !s.suspicious)
        .collect();
    sound.sort_by_key(|s| s.version);
    sound
}

/// Whether any other sound save contradicts this one's date, or the date is to come: pair by pair.
fn in_doubt(save: &Candidate, sound: &[&Candidate], now: DateTime<Utc>) -> bool {
    let hour = TimeDelta::hours(1);
    let to_come = |s: &Candidate| s.created_at - now > hour;
    to_come(save)
        || sound.iter().filter(|other| !to_come(other)).any(|other| {
            (other.version > save.version && save.created_at - other.created_at > hour)
                || (other.version < save.version && other.created_at - save.created_at > hour)
        })
}

/// By calendar fields, not by their text.
fn periods(at: DateTime<Utc>, zone: Tz) -> [(i64, i64, i64); 5] {
    let local = at.with_timezone(&zone);
    let day: NaiveDate = local.date_naive();
    let n = |n: u32| i64::from(n);
    let monday = day - TimeDelta::days(n(day.weekday().num_days_from_monday()));
    let offset = local.naive_local() - at.naive_utc();
    [
        (n(day.num_days_from_ce().cast_unsigned()), n(local.hour()), offset.num_seconds()),
        (n(day.num_days_from_ce().cast_unsigned()), 0, 0),
        (n(monday.num_days_from_ce().cast_unsigned()), 0, 0),
        (day.year().into(), n(day.month()), 0),
        (day.year().into(), 0, 0),
    ]
}

fn check(seed: u64, saves: &[Candidate], rules: &Retention, zone: Tz, now: DateTime<Utc>) -> usize {
    let gone = removed(saves, rules, zone, now);
    let by_id: BTreeMap<SaveId, &Candidate> = saves.iter().map(|save| (save.id, save)).collect();
    let sound = sound(saves);
    let what = || format!("history {seed}, {rules:?}, {zone}");

    // Nothing at all while the newest backup failed or is suspicious.
    let newest = saves
        .iter()
        .filter(|s| s.scope == Scope::Full && [Origin::Schedule, Origin::Manual].contains(&s.origin))
        .filter(|s| [SaveState::Available, SaveState::Failed].contains(&s.state))
        .max_by_key(|s| s.version);
    if newest.is_some_and(|s| s.state == SaveState::Failed || s.suspicious) {
        assert!(gone.is_empty(), "{}: blocked", what());
    }
    // Only sound, full, scheduled saves of its own; none that somebody wants or uses.
    for id in &gone {
        let save = by_id[id];
        assert!(sound.iter().any(|s| s.id == *id) && !save.pinned && !save.in_use, "{}: {save:?}", what());
    }
    // The newest verified, the newest available, the newest valid full one of the target.
    let floor = rules.verified.unwrap_or(1).max(1) as usize;
    for save in sound.iter().rev().filter(|s| s.verified).take(floor) {
        assert!(!gone.contains(&save.id), "{}: one of the newest verified", what());
    }
    let full = saves.iter().filter(|s| s.scope == Scope::Full && s.state == SaveState::Available);
    let lasts = [
        full.clone().max_by_key(|s| s.version),
        full.filter(|s| s.valid).max_by_key(|s| s.version),
        sound.last().copied(),
    ];
    for last in lasts.into_iter().flatten() {
        assert!(!gone.contains(&last.id), "{}: the last one", what());
    }
    // Every rule has let go of what is removed; and some rule there must be.
    let dated: Vec<&&Candidate> = sound.iter().filter(|s| !in_doubt(s, &sound, now)).collect();
    let counts = [rules.hourly, rules.daily, rules.weekly, rules.monthly, rules.yearly];
    let calendar: BTreeMap<SaveId, _> = sound.iter().map(|s| (s.id, periods(s.created_at, zone))).collect();
    for id in &gone {
        let save = by_id[id];
        assert!(!in_doubt(save, &sound, now), "{}: its date cannot be believed: {save:?}", what());
        let newer = |s: &Candidate| s.version > save.version;
        let last = rules.last.unwrap_or_default() as usize;
        assert!(sound.iter().filter(|s| newer(s)).count() >= last, "{}: one of the last {last}", what());
        for (at, most) in counts.into_iter().enumerate() {
            let period = |s: &Candidate| calendar[&s.id][at];
            let mine = period(save);
            let stands = dated.iter().any(|s| newer(s) && period(s) == mine);
            let later: BTreeSet<_> =
                dated.iter().filter(|s| newer(s)).map(|s| period(s)).filter(|p| *p != mine).collect();
            assert!(stands || later.len() >= most.unwrap_or_default() as usize, "{}: rule {at} keeps {save:?}", what());
        }
        if let Some(days) = rules.within_days.filter(|days| *days > 0) {
            let newest = dated.last().unwrap().created_at;
            assert!(newest - save.created_at > TimeDelta::days(days.into()), "{}: within", what());
        }
        assert!(counts.into_iter().chain([rules.last, rules.within_days]).flatten().any(|rule| rule > 0), "{}", what());
    }
    // Whatever was removed: a second look removes nothing more, blocked or not; half of the deletions may come later.
    let all = removable(saves, rules, zone, now);
    if !all.is_empty() {
        let left = without(saves, &all);
        assert_eq!(removable(&left, rules, zone, now), BTreeSet::new(), "{}: a second time", what());
    }
    if !gone.is_empty() {
        assert_eq!(gone, all, "{}: not blocked", what());
        assert_eq!(removed(&without(saves, &gone), rules, zone, now), BTreeSet::new(), "{}: a second time", what());
        let half: BTreeSet<SaveId> = gone.iter().copied().step_by(2).collect();
        assert!(removed(&without(saves, &half), rules, zone, now).is_subset(&gone), "{}: half of them", what());
    }
    gone.len()
}

#[test]
fn of_ten_thousand_histories_nothing_is_removed_that_must_stay() {
    let (mut total, mut blocked) = (0, 0);
    for seed in 0..10_000 {
        let mut dice = Dice(seed);
        let jumps = dice.once_in(2);
        let (saves, now) = dice.history(jumps);
        let rules = dice.rules();
        let zone = ZONES[usize::try_from(dice.below(6)).unwrap()];
        total += check(seed, &saves, &rules, zone, now);
        blocked += usize::from(plan(&saves, &rules, zone, now).blocked.is_some());

        // A rule that keeps more never removes more.
        let wider = |rule: Option<u32>, by: u32| if by == 0 { rule } else { Some(rule.unwrap_or_default() + by) };
        let mut by = || u32::try_from(dice.below(4)).unwrap();
        let more = Retention {
            last: wider(rules.last, by()),
            hourly: wider(rules.hourly, by()),
            daily: wider(rules.daily, by()),
            weekly: wider(rules.weekly, by()),
            monthly: wider(rules.monthly, by()),
            yearly: wider(rules.yearly, by()),
            within_days: wider(rules.within_days, by()),
            verified: wider(rules.verified, by()),
        };
        // But for the first rule of all: without one, everything stays.
        if rules.has_rules() {
            let (few, many) = (removable(&saves, &more, zone, now), removable(&saves, &rules, zone, now));
            assert!(few.is_subset(&many), "history {seed}: {rules:?} and {more:?}");
        }
        // Other schedules, people and restores do not change what becomes of the schedule's own saves.
        let own: Vec<Candidate> = saves.iter().filter(|save| save.is_own).cloned().collect();
        assert_eq!(removable(&own, &rules, zone, now), removable(&saves, &rules, zone, now), "history {seed}: alone");
    }
    // The histories are such that there is something to be seen.
    assert!(total > 20_000 && blocked > 500, "{total} removed, {blocked} blocked");
}

#[test]
fn a_clock_that_is_a_year_off_removes_nothing_that_would_have_stayed() {
    let mut seen = 0;
    for seed in 0..10_000 {
        let mut dice = Dice(seed ^ 0xc5);
        let (mut saves, now) = dice.history(false);
        let rules = dice.rules();
        let zone = ZONES[usize::try_from(dice.below(6)).unwrap()];
        let before = removable(&saves, &rules, zone, now);
        // From one save on the clock is off, for a while; of the first ones, an earlier date would contradict nothing.
        saves.sort_by_key(|save| save.version);
        let back = dice.once_in(2);
        let Some(first) = sound(&saves).first().map(|save| save.version) else { continue };
        let from = first + i32::try_from(dice.below(80)).unwrap() + i32::from(back);
        let until = from + i32::try_from(dice.below(20)).unwrap();
        let year = TimeDelta::days(if back { -400 } else { 400 });
        // A year on is yet to come only where the history ends before.
        let span = |s: &Candidate| now - s.created_at < TimeDelta::days(390);
        if !back && !saves.iter().filter(|s| (from..=until).contains(&s.version)).all(span) {
            continue;
        }
        let mut hit = 0;
        for save in &mut saves {
            if (from..=until).contains(&save.version) {
                save.created_at += year;
                hit += 1;
            }
        }
        let after = removable(&saves, &rules, zone, now);
        let contradicted = !back || {
            let sound = sound(&saves);
            sound.iter().filter(|s| (from..=until).contains(&s.version)).all(|s| in_doubt(s, &sound, now))
        };
        if contradicted {
            assert!(after.is_subset(&before), "history {seed}, {rules:?}, {zone}, {from} to {until}, back: {back}");
            seen += usize::from(hit > 0 && !before.is_empty());
        }
    }
    assert!(seen > 500, "{seen} histories with a jump");
}

/// Full nightly saves at this hour of UTC, versions from 1.
fn nights(first: &str, count: u32) -> Vec<Candidate> {
    let first: DateTime<Utc> = first.parse().unwrap();
    (0..count)
        .map(|n| Candidate {
            id: SaveId::generate(),
            version: i32::try_from(n).unwrap() + 1,
            state: SaveState::Available,
            scope: Scope::Full,
            origin: Origin::Schedule,
            is_own: true,
            valid: true,
            verified: false,
            suspicious: false,
            pinned: false,
            in_use: false,
            created_at: first + TimeDelta::days(n.into()),
            stored_bytes: Some(1),
        })
        .collect()
}

fn kept(saves: &[Candidate], rules: &Retention, zone: Tz) -> Vec<i32> {
    let now = saves.iter().map(|save| save.created_at).max().unwrap() + TimeDelta::hours(1);
    let plan = plan(saves, rules, zone, now);
    assert_eq!(plan.blocked, None);
    plan.verdicts.iter().filter(|verdict| verdict.fate == Fate::Keep).map(|verdict| verdict.version).collect()
}

#[test]
fn a_year_of_nights_is_thinned_by_the_calendar_of_the_zone() {
    // 2025-12-01 23:30 UTC: in Prague half past midnight of the next day.
    let saves = nights("2025-12-01T23:30:00Z", 60);
    let rules =
        Retention { daily: Some(3), weekly: Some(3), monthly: Some(2), yearly: Some(2), ..Retention::default() };
    // The last is of 2026-01-29 in UTC, a Thursday; weeks end with Sunday's. December ends with version 31 in UTC.
    assert_eq!(kept(&saves, &rules, chrono_tz::UTC), [60, 59, 58, 56, 49, 31]);
    // In Prague it is of Friday 2026-01-30; December ends with version 30.
    assert_eq!(kept(&saves, &rules, chrono_tz::Europe::Prague), [60, 59, 58, 55, 48, 30]);
    // Days without a save are not counted.
    let gaps: Vec<Candidate> = saves.iter().filter(|save| save.version % 10 == 0).cloned().collect();
    assert_eq!(kept(&gaps, &Retention { daily: Some(3), ..Retention::default() }, chrono_tz::UTC), [60, 50, 40]);
    assert_eq!(kept(&gaps, &Retention { within_days: Some(10), ..Retention::default() }, chrono_tz::UTC), [60, 50]);
    assert_eq!(kept(&gaps, &Retention::default(), chrono_tz::UTC), [60, 50, 40, 30, 20, 10]);
    assert_eq!(
        kept(&gaps, &Retention { last: Some(0), verified: Some(2), ..Retention::default() }, chrono_tz::UTC).len(),
        6
    );
}

#[test]
fn both_hours_of_an_autumn_night_are_hours_of_their_own() {
    let mut saves = nights("2026-10-25T00:10:00Z", 4);
    for (n, save) in saves.iter_mut().enumerate() {
        save.created_at = saves_at(n);
    }
    // 02:10 and 02:40 of summer time, 02:10 and 02:40 of winter time.
    let rules = Retention { hourly: Some(2), ..Retention::default() };
    assert_eq!(kept(&saves, &rules, chrono_tz::Europe::Prague), [4, 2]);
    assert_eq!(kept(&saves, &Retention { daily: Some(2), ..rules.clone() }, chrono_tz::Europe::Prague), [4, 2]);
}

fn saves_at(n: usize) -> DateTime<Utc> {
    let first: DateTime<Utc> = "2026-10-25T00:10:00Z".parse().unwrap();
    first + TimeDelta::minutes(30) * i32::try_from(n).unwrap()
}

#[test]
fn every_reason_is_given() {
    let mut saves = nights("2026-01-01T01:00:00Z", 5);
    saves[3].pinned = true;
    saves[3].verified = true;
    let rules = Retention { last: Some(1), daily: Some(2), ..Retention::default() };
    let now = saves[4].created_at;
    let plan = plan(&saves, &rules, chrono_tz::UTC, now);
    let reasons = |version: i32| plan.verdicts.iter().find(|v| v.version == version).unwrap().reasons.clone();
    assert_eq!(
        reasons(5),
        [
            "it is the schedule's newest save",
            "it is the schedule's newest valid save",
            "last: 1 of 1",
            "daily: the newest of 2026-01-05, 1 of 2"
        ]
    );
    assert_eq!(
        reasons(4),
        ["it is pinned", "verified: one of the newest 1", "daily: the newest of 2026-01-04, 2 of 2"]
    );
    assert_eq!(reasons(1), ["last: not among the newest 1", "daily: 2026-01-01 is before the 2 that are kept"]);
    assert_eq!(plan.removals().map(|v| v.version).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_failed_or_suspicious_newest_backup_blocks_until_it_is_accepted_deleted_or_followed() {
    let rules = Retention { last: Some(1), ..Retention::default() };
    let blocked = |saves: &[Candidate]| {
        let plan = plan(saves, &rules, chrono_tz::UTC, saves[saves.len() - 1].created_at);
        assert_eq!(plan.blocked.is_some(), plan.removals().next().is_none());
        plan.blocked.map(|block| (block.cause, block.version))
    };
    let mut saves = nights("2026-01-01T01:00:00Z", 5);
    assert_eq!(blocked(&saves), None);
    saves[4].state = SaveState::Failed;
    assert_eq!(blocked(&saves), Some((Cause::Failed, 5)));
    // A person's counts too; what a restore made or somebody brought does not.
    saves[4].origin = Origin::Manual;
    assert_eq!(blocked(&saves), Some((Cause::Failed, 5)));
    saves[4].origin = Origin::Import;
    assert_eq!(blocked(&saves), None);
    saves[4].origin = Origin::Schedule;
    saves[4].state = SaveState::Deleted;
    assert_eq!(blocked(&saves), None);
    saves[4].state = SaveState::Available;
    saves[4].suspicious = true;
    assert_eq!(blocked(&saves), Some((Cause::Suspicious, 5)));
    saves[4].suspicious = false;
    assert_eq!(blocked(&saves), None);
    saves[3].state = SaveState::Failed;
    saves[2].suspicious = true;
    assert_eq!(blocked(&saves), None);
}
