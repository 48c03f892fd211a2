//! From every moment of the renames there is a way to the end and a way back.

use std::collections::BTreeMap;

use mongodb::bson::Document;
use uuid::Uuid;

use super::*;
use crate::engine::{
    SessionTag,
    mongodb::restore::{Tally, load::Collection, tests::at},
};

/// A database in which a collection's UUID says what it is.
fn database(collections: &[(&str, &str)]) -> Survey {
    let one = |(name, uuid): &(&str, &str)| {
        let found = Found { kind: "collection".into(), options: Document::new(), uuid: Some((*uuid).into()) };
        ((*name).to_owned(), found)
    };
    Survey { found: collections.iter().map(one).collect(), ..Survey::default() }
}

fn loaded(names: &[(&str, String)]) -> Loaded {
    let one = |(name, staged): &(&str, String)| Collection {
        name: (*name).to_owned(),
        staged: staged.clone(),
        series: None,
        indexes: Vec::new(),
        is_capped: false,
        has_collation: false,
        tally: Tally::default(),
    };
    Loaded { collections: names.iter().map(one).collect(), ..Loaded::default() }
}

fn base(replaces: bool) -> Base {
    let database = DatabaseName::parse("shop").unwrap();
    Base { database, replaces, whole: true, keep_old_s: 1, kept_id: None }
}

/// What stands under names of somebody's.
fn theirs(survey: &Survey) -> BTreeMap<String, String> {
    survey.theirs().map(|(name, found)| (name.to_owned(), found.uuid.clone().unwrap())).collect()
}

fn step(survey: &mut Survey, next: &Next) {
    if let Next::Give(marker) = next {
        return survey.unmarked(marker);
    }
    let Next::Rename { from, to } = next else { panic!("{next:?}") };
    assert!(survey.has(from) && !survey.has(to), "{from} to {to} in {survey:?}");
    survey.renamed(from, to);
}

fn all(renames: &Renames, survey: &mut Survey, way: Way) -> Next {
    loop {
        match next(renames, survey, way) {
            end @ (Next::Done | Next::Blocked(_)) => return end,
            one => step(survey, &one),
        }
    }
}

struct Scene {
    old: Survey,
    renames: Renames,
    new: BTreeMap<String, String>,
}

fn scene(has_uuids: bool) -> Scene {
    let job = Uuid::now_v7();
    let staged = |index| names::staged(SessionTag { job, epoch: 1 }, index);
    let (a, b, c) = (staged(0), staged(1), staged(2));
    let mut old = database(&[("a", "a0"), ("b", "b0"), ("gone", "g0"), (&a, "a1"), (&b, "b1"), (&c, "c1")]);
    let loaded = loaded(&[("a", a), ("b", b), ("c", c)]);
    let mut renames = plan(&at(job), &old, &loaded, base(true)).unwrap();
    if !has_uuids {
        renames.moves.iter_mut().filter_map(|one| one.incoming.as_mut()).for_each(|waiting| waiting.uuid = None);
    }
    old.found.retain(|_, found| found.kind == "collection");
    let new = [("a", "a1"), ("b", "b1"), ("c", "c1")];
    let new = new.map(|(name, uuid)| (name.to_owned(), uuid.to_owned())).into();
    Scene { old, renames, new }
}

#[test]
fn from_every_moment_it_gets_to_the_end_or_back() {
    for has_uuids in [true, false] {
        let Scene { old, renames, new } = scene(has_uuids);
        let (mut steps, mut now) = (0, old.clone());
        loop {
            let mut forward = now.clone();
            assert_eq!(all(&renames, &mut forward, Way::Forward), Next::Done, "after {steps}");
            assert_eq!(theirs(&forward), new, "after {steps}");
            let mut back = now.clone();
            assert_eq!(all(&renames, &mut back, Way::Back), Next::Done, "after {steps}");
            assert_eq!(back, old, "after {steps}");
            let one = next(&renames, &now, Way::Forward);
            if one == Next::Done {
                break;
            }
            step(&mut now, &one);
            steps += 1;
        }
        assert_eq!(steps, 6, "three go aside, three come in");
    }
}

#[test]
fn what_an_application_makes_meanwhile_is_put_aside_and_never_lost() {
    let Scene { old, renames, new } = scene(true);
    for moment in 0..6 {
        for name in ["a", "b", "c", "gone"] {
            let mut now = old.clone();
            for _ in 0..moment {
                let one = next(&renames, &now, Way::Forward);
                step(&mut now, &one);
            }
            if now.has(name) {
                continue;
            }
            now.found.extend(database(&[(name, "late")]).found);
            let mut back = now.clone();
            for (way, survey) in [(Way::Forward, &mut now), (Way::Back, &mut back)] {
                assert_eq!(all(&renames, survey, way), Next::Done, "{name} at {moment}, {way:?}");
                let late = survey.found.values().filter(|found| found.uuid.as_deref() == Some("late"));
                assert_eq!(late.count(), 1, "{name} at {moment}, {way:?}");
            }
            let mut expected = new.clone();
            if name == "gone" {
                expected.insert("gone".into(), "late".into());
            }
            assert_eq!(theirs(&now), expected, "{name} at {moment}");
            let mut expected = theirs(&old);
            if name == "c" {
                expected.insert("c".into(), "late".into());
            }
            assert_eq!(theirs(&back), expected, "{name} at {moment}");
        }
    }
}

#[test]
fn what_is_taken_away_stops_it_and_all_goes_back() {
    let Scene { old, renames, .. } = scene(true);
    for moment in 0..5 {
        let mut now = old.clone();
        for _ in 0..moment {
            let one = next(&renames, &now, Way::Forward);
            step(&mut now, &one);
        }
        let waiting = &renames.moves[2].incoming.as_ref().unwrap().name;
        now.found.remove(waiting).unwrap();
        assert!(matches!(all(&renames, &mut now, Way::Forward), Next::Blocked(_)), "at {moment}");
        assert_eq!(all(&renames, &mut now, Way::Back), Next::Done, "at {moment}");
        assert_eq!(theirs(&now), theirs(&old), "at {moment}");
    }
}

#[test]
fn a_name_that_is_taken_stops_what_may_not_replace() {
    let job = Uuid::now_v7();
    let staged = names::staged(SessionTag { job, epoch: 1 }, 0);
    let empty = database(&[(&staged, "a1")]);
    let renames = plan(&at(job), &empty, &loaded(&[("a", staged)]), base(false)).unwrap();
    let mut now = empty.clone();
    now.found.extend(database(&[("a", "late")]).found);
    assert!(matches!(all(&renames, &mut now, Way::Forward), Next::Blocked(_)));
    assert_eq!(theirs(&now).get("a").map(String::as_str), Some("late"));
    let mut now = empty.clone();
    assert_eq!(all(&renames, &mut now, Way::Forward), Next::Done);
    assert_eq!(theirs(&now).get("a").map(String::as_str), Some("a1"));
}

/// A database in which a restore has filled time series `readings` and staged `a`.
fn filled(job: Uuid) -> (Survey, Loaded) {
    let tag = SessionTag { job, epoch: 1 };
    let (a, marker) = (names::staged(tag, 0), names::series(tag, 1));
    let mut survey = database(&[("a", "a0"), (&a, "a1"), (&marker, "m"), ("readings", "r1")]);
    survey.found.get_mut("readings").unwrap().kind = "timeseries".into();
    let made = Some(series::Made(Some("r1".into())));
    survey.marks.insert(marker.clone(), series::Mark { series: "readings".into(), made });
    let mut loaded = loaded(&[("a", a), ("readings", "system.buckets.readings".into())]);
    loaded.collections[1].series = Some(series::Series { marker, expiry: None });
    (survey, loaded)
}

#[test]
fn a_time_series_is_given_last_and_not_if_somebody_has_taken_it_away() {
    let job = Uuid::now_v7();
    let (old, loaded) = filled(job);
    assert_eq!(theirs(&old).keys().collect::<Vec<_>>(), ["a"], "it is nobody's yet");
    let renames = plan(&at(job), &old, &loaded, base(true)).unwrap();
    let mut now = old.clone();
    let mut steps = Vec::new();
    loop {
        let one = next(&renames, &now, Way::Forward);
        if one == Next::Done {
            break;
        }
        let mut back = now.clone();
        assert_eq!(all(&renames, &mut back, Way::Back), Next::Done);
        assert_eq!(back, old, "after {steps:?}");
        let mut gone = now.clone();
        gone.found.get_mut("readings").unwrap().uuid = Some("another".into());
        assert!(matches!(next(&renames, &gone, Way::Forward), Next::Blocked(_)), "after {steps:?}");
        step(&mut now, &one);
        steps.push(one);
    }
    assert!(matches!(steps.as_slice(), [Next::Rename { .. }, Next::Rename { .. }, Next::Give(_)]), "{steps:?}");
    assert_eq!(theirs(&now).get("readings").map(String::as_str), Some("r1"));

    // An undo leaves it; a restore of the whole database that it would have to make way for is refused.
    let undo = plan_undo(&at(Uuid::now_v7()), &now, &renames, base(true)).unwrap();
    assert_eq!(all(&undo, &mut now, Way::Forward), Next::Done);
    assert_eq!(theirs(&now).get("a").map(String::as_str), Some("a0"));
    assert_eq!(theirs(&now).get("readings").map(String::as_str), Some("r1"));
    let refused = plan(&at(job), &now, &Loaded::default(), base(true)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::CollectionUnsupported, "{refused}");
    let refused = plan(&at(job), &now, &loaded, Base { whole: false, ..base(true) }).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::CollectionUnsupported, "{refused}");
}

#[test]
fn an_undo_is_the_way_there_and_back_and_there_again() {
    let Scene { old, renames, new } = scene(true);
    let mut now = old.clone();
    all(&renames, &mut now, Way::Forward);
    // Something that came later.
    now.found.extend(database(&[("later", "l0")]).found);
    let undo = plan_undo(&at(Uuid::now_v7()), &now, &renames, base(true)).unwrap();
    assert_eq!(all(&undo, &mut now, Way::Forward), Next::Done);
    assert_eq!(theirs(&now), theirs(&old));
    let redo = plan_undo(&at(Uuid::now_v7()), &now, &undo, base(true)).unwrap();
    assert_eq!(all(&redo, &mut now, Way::Forward), Next::Done);
    let mut expected = new;
    expected.insert("later".into(), "l0".into());
    assert_eq!(theirs(&now), expected);
}
