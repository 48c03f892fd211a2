//! Decisions at set instants: nothing here waits for a clock.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use shared::{
    db::schedules::ScheduleRow,
    id::{ScheduleId, ServiceId, TargetId},
    name::Slug,
    schedule::Covers,
};
use sqlx::types::Json;

use super::*;

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn row(expression: &str, settings: serde_json::Value) -> ScheduleRow {
    let then = utc("2026-01-01T00:00:00Z");
    ScheduleRow {
        id: ScheduleId::generate(),
        name: Slug::parse("nightly").unwrap(),
        covers: Covers::Target,
        target_id: Some(TargetId::generate()),
        service_id: ServiceId::generate(),
        server_id: None,
        expression: expression.to_owned(),
        zone: "UTC".to_owned(),
        settings: Json(serde_json::from_value(settings).unwrap()),
        retention: None,
        verification: None,
        paused_at: None,
        planned_until: then,
        overdue_at: None,
        created_by: None,
        created_at: then,
        updated_at: then,
        deleted_at: None,
    }
}

fn table(expression: &str, settings: serde_json::Value) -> Timetable {
    Timetable::of(&row(expression, settings)).unwrap()
}

fn on_time(at: &[&str]) -> Vec<Due> {
    at.iter().map(|at| Due { at: utc(at), fires_at: utc(at) }).collect()
}

/// One letter for each: fired, made up for, skipped, missed.
fn became(table: &Timetable, due: &[Due], now: &str) -> String {
    let letter = |decision: &SlotDecision| match decision {
        SlotDecision::Fire { made_up: false } => 'f',
        SlotDecision::Fire { made_up: true } => 'u',
        SlotDecision::Skip(_) => 's',
        SlotDecision::Miss(_) => 'm',
    };
    decide(table, due, false, utc(now)).iter().map(letter).collect()
}

/// A scheduler of one schedule in memory, as the rows and their unique key have it.
struct World {
    table: Timetable,
    until: DateTime<Utc>,
    slots: BTreeMap<DateTime<Utc>, Option<char>>,
    waiting: BTreeMap<DateTime<Utc>, DateTime<Utc>>,
    fired: Vec<DateTime<Utc>>,
}

impl World {
    fn new(table: Timetable, until: &str) -> Self {
        Self { table, until: utc(until), slots: BTreeMap::new(), waiting: BTreeMap::new(), fired: Vec::new() }
    }

    /// A round at an instant; goes on as the loop does while more is due.
    fn at(&mut self, now: DateTime<Utc>) {
        loop {
            let ahead = plan(&self.table, self.until, now);
            assert!(ahead.until >= self.until, "planned_until goes back");
            self.until = ahead.until;
            for slot in &ahead.slots {
                assert_eq!(self.slots.insert(slot.at, None), None, "a moment is planned twice");
                self.waiting.insert(slot.at, slot.fires_at);
            }
            let waiting = self.waiting.iter().filter(|(_, fires_at)| **fires_at <= now);
            let due: Vec<Due> = waiting.map(|(at, fires_at)| Due { at: *at, fires_at: *fires_at }).collect();
            for (slot, decision) in due.iter().zip(decide(&self.table, &due, ahead.more_due, now)) {
                let letter = match decision {
                    SlotDecision::Fire { .. } => 'f',
                    SlotDecision::Skip(_) => 's',
                    SlotDecision::Miss(_) => 'm',
                };
                if letter == 'f' {
                    self.fired.push(slot.at);
                }
                self.waiting.remove(&slot.at);
                *self.slots.get_mut(&slot.at).unwrap() = Some(letter);
            }
            if self.until > now {
                return;
            }
        }
    }

    fn count(&self, letter: char) -> usize {
        self.slots.values().filter(|became| **became == Some(letter)).count()
    }

    fn check(&self) {
        let mut once = self.fired.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), self.fired.len(), "a slot was fired twice");
    }
}

#[test]
fn the_next_moment_is_planned_before_its_time_and_no_other() {
    let table = table("0 5 * * *", json!({}));
    let ahead = plan(&table, utc("2026-03-01T00:00:00Z"), utc("2026-03-01T00:00:00Z"));
    assert_eq!(ahead.slots.iter().map(|slot| slot.at).collect::<Vec<_>>(), [utc("2026-03-01T05:00:00Z")]);
    assert_eq!((ahead.until, ahead.more_due), (utc("2026-03-01T05:00:00Z"), false));
    let nothing = plan(&table, ahead.until, utc("2026-03-01T04:59:59Z"));
    assert_eq!((nothing.slots.len(), nothing.until), (0, ahead.until));
    let next = plan(&table, ahead.until, ahead.until);
    assert_eq!(next.slots.iter().map(|slot| slot.at).collect::<Vec<_>>(), [utc("2026-03-02T05:00:00Z")]);
}

#[test]
fn what_is_over_for_ever_is_asked_again_tomorrow() {
    let mut row = row("0 0 1 1 *", json!({}));
    row.expression = "0 0 29 2 *".to_owned();
    let table = Timetable::of(&row).unwrap();
    let now = utc("2100-06-01T00:00:00Z");
    let ahead = plan(&table, now, now);
    assert_eq!((ahead.slots.len(), ahead.until), (0, now + FAR));
    assert_eq!(overdue_at(&table, now), None);
}

#[test]
fn a_deleted_or_unreadable_schedule_plans_nothing() {
    let mut deleted = row("* * * * * *", json!({}));
    deleted.deleted_at = Some(utc("2026-02-01T00:00:00Z"));
    let table = Timetable::of(&deleted).unwrap();
    let now = utc("2026-02-01T00:10:00Z");
    assert_eq!(plan(&table, utc("2026-02-01T00:00:00Z"), now).slots, []);
    let due = on_time(&["2026-02-01T00:10:00Z"]);
    assert!(matches!(&decide(&table, &due, false, now)[0], SlotDecision::Skip(why) if why.contains("deleted")));
    assert!(Timetable::of(&row("every night", json!({}))).is_err());
    let mut nowhere = row("@daily", json!({}));
    nowhere.zone = "Middle/Earth".to_owned();
    assert!(Timetable::of(&nowhere).is_err());
}

#[test]
fn what_is_a_little_late_is_not_missed() {
    for catch_up in ["none", "last", "all"] {
        let nightly = table("0 5 * * *", json!({ "catch_up": catch_up }));
        let due = on_time(&["2026-03-01T05:00:00Z"]);
        assert_eq!(became(&nightly, &due, "2026-03-01T05:00:00Z"), "f");
        assert_eq!(became(&nightly, &due, "2026-03-01T05:05:00Z"), "f");
    }
    let minutely = table("* * * * *", json!({ "catch_up": "none" }));
    let due = on_time(&["2026-03-01T05:00:00Z"]);
    assert_eq!(became(&minutely, &due, "2026-03-01T05:00:30Z"), "f");
    assert_eq!(became(&minutely, &due, "2026-03-01T05:00:31Z"), "m");
}

#[test]
fn after_a_downtime_the_schedule_says_what_is_made_up_for() {
    let due = on_time(&["2026-03-01T05:00:00Z", "2026-03-02T05:00:00Z", "2026-03-03T05:00:00Z"]);
    let now = "2026-03-03T09:00:00Z";
    for (catch_up, expected) in [("none", "mmm"), ("last", "mmu"), ("all", "uuu")] {
        assert_eq!(became(&table("0 5 * * *", json!({ "catch_up": catch_up })), &due, now), expected, "{catch_up}");
    }
    // The last one is on time: nothing is made up for besides.
    for (catch_up, expected) in [("none", "mmf"), ("last", "mmf"), ("all", "uuf")] {
        let table = table("0 5 * * *", json!({ "catch_up": catch_up }));
        assert_eq!(became(&table, &due, "2026-03-03T05:00:01Z"), expected, "{catch_up}");
    }
    // Not all of it fits into one go.
    let table = table("0 5 * * *", json!({}));
    let all_missed = decide(&table, &due, true, utc(now));
    assert!(all_missed.iter().all(|decision| matches!(decision, SlotDecision::Miss(_))), "{all_missed:?}");
}

#[test]
fn outside_of_its_windows_nothing_is_fired_or_made_up_for() {
    let windows = json!([{ "from": "22:00", "until": "06:00" }]);
    for (catch_up, expected) in [("none", "ms"), ("last", "ms"), ("all", "ms")] {
        let table = table("0 5,12 * * *", json!({ "catch_up": catch_up, "windows": windows }));
        let due = on_time(&["2026-03-01T05:00:00Z", "2026-03-01T12:00:00Z"]);
        assert_eq!(became(&table, &due, "2026-03-01T12:00:01Z"), expected, "{catch_up}");
    }
    // Back within the window, the one inside is the last that could have been.
    let table = table("0 5,12 * * *", json!({ "windows": windows }));
    let due = on_time(&["2026-03-01T05:00:00Z", "2026-03-01T12:00:00Z"]);
    assert_eq!(became(&table, &due, "2026-03-01T23:00:00Z"), "us");
}

#[test]
fn while_it_is_paused_slots_are_skipped_and_those_of_before_are_missed() {
    let mut row = row("0 5 * * *", json!({ "catch_up": "all" }));
    row.paused_at = Some(utc("2026-03-02T00:00:00Z"));
    let table = Timetable::of(&row).unwrap();
    let due = on_time(&["2026-03-01T05:00:00Z", "2026-03-02T05:00:00Z"]);
    assert_eq!(became(&table, &due, "2026-03-02T09:00:00Z"), "ms");
    let SlotDecision::Skip(why) = decide(&table, &due, false, utc("2026-03-02T09:00:00Z")).remove(1) else { panic!() };
    assert_eq!(why, "the schedule is paused since 2026-03-02T00:00:00Z");
}

#[test]
fn the_jitter_puts_off_and_is_no_lateness() {
    let table = table("0 5 * * *", json!({ "jitter_s": 3600, "catch_up": "none" }));
    let ahead = plan(&table, utc("2026-03-01T00:00:00Z"), utc("2026-03-01T00:00:00Z"));
    let slot = ahead.slots[0];
    assert!(slot.fires_at >= slot.at && slot.fires_at <= slot.at + TimeDelta::hours(1));
    assert_eq!(
        plan(&table, utc("2026-03-01T00:00:00Z"), utc("2026-03-01T01:00:00Z")).slots,
        [slot],
        "it is always the same"
    );
    let due = [Due { at: slot.at, fires_at: slot.fires_at }];
    let decided = decide(&table, &due, false, slot.fires_at + TimeDelta::minutes(4));
    assert_eq!(decided, [SlotDecision::Fire { made_up: false }]);
}

#[test]
fn a_clock_that_jumps_an_hour_either_way_starts_nothing_twice() {
    let hour = TimeDelta::hours(1);
    for expression in ["*/10 * * * * *", "* * * * *", "*/7 * * * *", "0 5 * * *"] {
        for catch_up in ["none", "last", "all"] {
            for jitter in [0, 40] {
                let table = table(expression, json!({ "catch_up": catch_up, "jitter_s": jitter }));
                let mut world = World::new(table, "2026-03-01T00:00:00Z");
                let mut now = utc("2026-03-01T00:00:00Z");
                for step in 0..6000 {
                    now += TimeDelta::seconds(5);
                    match step {
                        900 => now += hour,
                        2000 => now -= hour,
                        3000 => now += hour * 3,
                        4000 => now -= hour * 2,
                        _ => {}
                    }
                    world.at(now);
                }
                world.check();
                let planned = world.slots.len();
                // The one moment of the night may lie in a downtime for which nothing is made up.
                assert!(
                    world.count('f') > 0 || (expression == "0 5 * * *" && catch_up == "none"),
                    "{expression} {catch_up}"
                );
                if catch_up == "all" {
                    assert_eq!(world.count('m'), 0, "{expression}: of {planned}");
                }
                if expression == "* * * * *" && catch_up == "none" {
                    // Both jumps forward are downtimes; what was fired before a jump back is not fired again.
                    assert!(world.count('m') >= 200, "{} of {planned}", world.count('m'));
                }
            }
        }
    }
}

#[test]
fn every_moment_of_a_long_downtime_gets_its_slot() {
    for (catch_up, fired) in [("none", 0), ("last", 1), ("all", 1440)] {
        let mut world = World::new(table("* * * * *", json!({ "catch_up": catch_up })), "2026-03-01T00:00:00Z");
        world.at(utc("2026-03-02T00:00:45Z"));
        world.check();
        let expected = if catch_up == "none" { 0 } else { fired };
        assert_eq!((world.count('f'), world.count('f') + world.count('m')), (expected, 1440), "{catch_up}");
        assert_eq!(world.slots.len(), 1441, "and the one to come");
        assert!(world.fired.is_empty() || *world.fired.last().unwrap() == utc("2026-03-02T00:00:00Z"));
    }
}

#[test]
fn schedulers_that_come_and_go_fire_each_moment_once() {
    // A seeded walk: naps of all lengths, never longer than what is a little late.
    let mut seed = 7_u64;
    let mut random = move |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    let mut world = World::new(table("*/30 * * * * *", json!({ "catch_up": "none" })), "2026-03-01T00:00:00Z");
    let begin = utc("2026-03-01T00:00:00Z");
    let mut now = begin;
    while now < begin + TimeDelta::hours(6) {
        now += TimeDelta::milliseconds(i64::try_from(random(15_000)).unwrap());
        world.at(now);
    }
    world.check();
    let moments = usize::try_from((now - begin).num_seconds() / 30).unwrap();
    assert_eq!((world.count('f'), world.count('m')), (moments, 0));
}

#[test]
fn overdue_is_one_and_a_half_intervals_after_the_last_save() {
    let nightly = table("0 5 * * *", json!({}));
    let at = |table: &Timetable, since: &str| overdue_at(table, utc(since)).unwrap();
    assert_eq!(at(&nightly, "2026-03-01T05:00:00Z"), utc("2026-03-02T17:00:00Z"));
    // A schedule that is younger than one and a half intervals never is.
    assert_eq!(at(&nightly, "2026-03-01T04:00:00Z"), utc("2026-03-02T16:00:00Z"));
    assert_eq!(
        at(&table("0 5 * * *", json!({ "jitter_s": 600 })), "2026-03-01T05:00:00Z"),
        utc("2026-03-02T17:10:00Z")
    );
    // Over a weekend nothing is to happen: from Friday to half a day after Monday's.
    let weekdays = table("0 5 * * 1-5", json!({}));
    assert_eq!(at(&weekdays, "2026-03-06T05:00:00Z"), utc("2026-03-09T17:00:00Z"));
    // What its windows rule out is not waited for.
    let windows = json!([{ "days": [1, 2, 3, 4, 5], "from": "00:00", "until": "23:59" }]);
    let weekdays = table("0 5 * * *", json!({ "windows": windows }));
    assert_eq!(at(&weekdays, "2026-03-06T05:00:00Z"), utc("2026-03-09T17:00:00Z"));
    let never = table("0 5 * * *", json!({ "windows": [{ "from": "22:00", "until": "23:00" }] }));
    assert_eq!(at(&never, "2026-03-06T05:00:00Z"), utc("2026-03-07T17:00:00Z"), "it never saves, and that is told");
    let often = table("* * * * * *", json!({ "windows": [{ "from": "22:00", "until": "23:00" }] }));
    let due = at(&often, "2026-03-06T22:59:59Z");
    assert!(due >= utc("2026-03-07T22:00:00Z") && due < utc("2026-03-07T22:11:00Z"), "{due}");
}
