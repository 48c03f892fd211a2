//! Collections change names, one after another. From the names that are there it follows how far it came and what is next, so
//! that whoever comes after a crash goes on without any other memory than the journal; and every step has a way back.
//!
//! A collection's place is in one of these states, where `in` is what waits and `aside` the name that the old one gets:
//!
//! | waits | name | aside | |
//! |---|---|---|---|
//! | yes | yes | no | the old one is to be put aside |
//! | yes | no | any | the new one is to get its name |
//! | yes | yes | yes | an application has made the collection anew meanwhile: that one is put aside too |
//! | no | yes | as it had | done |
//! | no | else | | somebody has taken away what waited: back |
//!
//! A time series has its name from the beginning (`series`). Its marker goes last; one whose series somebody has taken away is a
//! reason to go back.

use std::collections::HashSet;

use mongodb::{Database, bson::doc};
use shared::{
    id::KeptId,
    job::{Given, Move, Renames, View, Waiting},
    name::DatabaseName,
};

use super::{
    Loaded,
    fault::failed,
    names, series,
    survey::{Found, Survey, drop_collection},
    view,
};
use crate::engine::{Connection, EngineError, ErrorCode};

/// Which way names change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// What was restored gets its names.
    Forward,
    /// Everything as it was.
    Back,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Rename {
        from: String,
        to: String,
    },
    /// A view has the name that a collection is to get; how it was defined stands in the journal.
    DropView(String),
    /// A time series is the database's own from now on: its marker goes.
    Give(String),
    /// All collections have their names.
    Done,
    /// There is no way on in this direction, and why.
    Blocked(String),
}

/// What a plan is for.
#[derive(Debug, Clone)]
pub struct Base {
    pub database: DatabaseName,
    pub replaces: bool,
    /// Whether it is all of the database.
    pub whole: bool,
    pub keep_old_s: u32,
    /// The row of what comes in, for an undo.
    pub kept_id: Option<KeptId>,
}

/// What is about to be done: what was loaded comes in; what stands in its way, or in the whole database, goes aside.
pub fn plan(at: &Connection, survey: &Survey, loaded: &Loaded, base: Base) -> Result<Renames, EngineError> {
    let mut plan = Plan::new(at, survey, base)?;
    for one in &loaded.collections {
        match &one.series {
            Some(_) if survey.series().any(|name| name == one.name) => return Err(series::stands(&one.name)),
            Some(_) if survey.theirs().any(|(name, _)| name == one.name) => return Err(series::taken(&one.name)),
            Some(series) => plan.give(&one.name, &series.marker),
            None => plan.add(&one.name, Some(&one.staged))?,
        }
    }
    let is_view = |name: &str| loaded.views.iter().any(|view| view.name == name);
    for name in survey.collections() {
        if plan.renames.whole || is_view(name) {
            plan.add(name, None)?;
        }
    }
    plan.finish(loaded.views.clone(), is_view)
}

/// The undo of renames that were made: what they put aside comes in again, what has its place now goes aside. Time series, which
/// cannot, stay.
pub fn plan_undo(at: &Connection, survey: &Survey, made: &Renames, base: Base) -> Result<Renames, EngineError> {
    let mut plan = Plan::new(at, survey, base)?;
    for one in &made.moves {
        let kept = survey.has(&one.aside).then_some(one.aside.as_str());
        if kept.is_some() || is_collection(survey, &one.name) {
            plan.add(&one.name, kept)?;
        }
    }
    if made.whole {
        for name in survey.collections().filter(|name| !survey.is_series(name)) {
            plan.add(name, None)?;
        }
    }
    let views = || made.views_in.iter().chain(&made.views_out);
    plan.finish(made.views_out.clone(), |name| views().any(|view| view.name == name))
}

/// What was loaded and waits: as if it had been put aside under the names that it has, so that an undo brings it in.
pub fn waiting(at: &Connection, loaded: Loaded, base: Base) -> Result<Renames, EngineError> {
    let Base { database, replaces, whole, keep_old_s, kept_id } = base;
    let put_aside = |name: String, aside: String| Move { name, incoming: None, aside, had: true };
    Ok(Renames {
        database,
        replaces,
        whole,
        series: Vec::new(),
        moves: loaded.collections.into_iter().map(|one| put_aside(one.name, one.staged)).collect(),
        views_out: loaded.views,
        views_in: Vec::new(),
        aside_prefix: names::staged_prefix(at.session)?,
        keep_id: KeptId::generate(),
        keep_old_s,
        kept_id,
    })
}

struct Plan<'a> {
    survey: &'a Survey,
    renames: Renames,
    names: HashSet<String>,
}

impl<'a> Plan<'a> {
    fn new(at: &Connection, survey: &'a Survey, base: Base) -> Result<Self, EngineError> {
        let Base { database, replaces, whole, keep_old_s, kept_id } = base;
        let renames = Renames {
            database,
            replaces,
            whole,
            moves: Vec::new(),
            series: Vec::new(),
            views_out: Vec::new(),
            views_in: Vec::new(),
            aside_prefix: names::aside_prefix(at.session.job)?,
            keep_id: KeptId::generate(),
            keep_old_s,
            kept_id,
        };
        Ok(Self { survey, renames, names: HashSet::new() })
    }

    fn give(&mut self, name: &str, marker: &str) {
        self.names.insert(name.to_owned());
        self.renames.series.push(Given { name: name.to_owned(), marker: marker.to_owned() });
    }

    fn add(&mut self, name: &str, waiting: Option<&str>) -> Result<(), EngineError> {
        if !self.names.insert(name.to_owned()) {
            return Ok(());
        }
        if self.survey.is_series(name) {
            return Err(series::stands(name));
        }
        let incoming = waiting.map(|waiting| Waiting {
            name: waiting.to_owned(),
            uuid: self.survey.get(waiting).and_then(|found| found.uuid.clone()),
        });
        let aside = names::aside(&self.renames.aside_prefix, self.renames.moves.len());
        let had = is_collection(self.survey, name);
        self.renames.moves.push(Move { name: name.to_owned(), incoming, aside, had });
        Ok(())
    }

    fn finish(mut self, views_in: Vec<View>, is_view: impl Fn(&str) -> bool) -> Result<Renames, EngineError> {
        for (name, options) in self.survey.views() {
            if self.renames.whole || self.names.contains(name) || is_view(name) {
                self.renames.views_out.push(view::packed(name, options)?);
            }
        }
        self.renames.views_in = views_in;
        Ok(self.renames)
    }
}

fn is_collection(survey: &Survey, name: &str) -> bool {
    survey.get(name).is_some_and(|found| found.kind != "view")
}

/// What is next, by what is there.
pub fn next(renames: &Renames, survey: &Survey, way: Way) -> Next {
    let step = match way {
        Way::Forward => {
            let there = renames.series.iter().map(|one| still_there(one, survey));
            let moves = renames.moves.iter().map(|one| forward(renames, one, survey));
            let given = renames.series.iter().map(|one| given(one, survey));
            there.chain(moves).chain(given).find(|next| *next != Next::Done)
        }
        // What was marked goes with all else that did not get its name.
        Way::Back => renames.moves.iter().rev().map(|one| back(one, survey)).find(|next| *next != Next::Done),
    };
    step.unwrap_or(Next::Done)
}

/// Whoever takes a series away, or makes another one, before it is given, has changed what the restore was to bring.
fn still_there(one: &Given, survey: &Survey) -> Next {
    match survey.mark(&one.marker) {
        Some(mark) if !survey.is_made(mark) => {
            Next::Blocked(format!("somebody has taken away time series {:?}", one.name))
        }
        Some(_) | None => Next::Done,
    }
}

fn given(one: &Given, survey: &Survey) -> Next {
    if survey.has(&one.marker) { Next::Give(one.marker.clone()) } else { Next::Done }
}

fn forward(renames: &Renames, one: &Move, survey: &Survey) -> Next {
    let there = survey.get(&one.name);
    let aside = survey.has(&one.aside);
    let Some(waiting) = &one.incoming else {
        // Nothing comes in its place: what an application makes there anew is its own.
        return match there {
            Some(found) if found.kind != "view" && !aside => rename(&one.name, &one.aside),
            _ => Next::Done,
        };
    };
    let waits = survey.has(&waiting.name);
    match (waits, there) {
        (true, Some(found)) if found.kind == "view" => {
            if renames.views_out.iter().any(|view| view.name == one.name) {
                Next::DropView(one.name.clone())
            } else {
                Next::Blocked(format!("somebody has made a view {:?} meanwhile", one.name))
            }
        }
        (true, Some(_)) if !renames.replaces => {
            Next::Blocked(format!("somebody has made a collection {:?} meanwhile", one.name))
        }
        (true, Some(_)) if aside => rename(&one.name, &free(&one.aside, survey)),
        (true, Some(_)) => rename(&one.name, &one.aside),
        (true, None) => rename(&waiting.name, &one.name),
        (false, Some(found)) if is_it(waiting, found) && (aside || !one.had) => Next::Done,
        (false, _) => Next::Blocked(format!("somebody has taken away what was to become collection {:?}", one.name)),
    }
}

fn back(one: &Move, survey: &Survey) -> Next {
    let there = survey.get(&one.name).filter(|found| found.kind != "view");
    let aside = survey.has(&one.aside);
    let Some(found) = there else {
        return if aside { rename(&one.aside, &one.name) } else { Next::Done };
    };
    match &one.incoming {
        // It stands where it was not: back to where it waited.
        Some(waiting) if !survey.has(&waiting.name) && is_it(waiting, found) && (aside || !one.had) => {
            rename(&one.name, &waiting.name)
        }
        // An application's own, in the place of what is to come back.
        _ if aside => rename(&one.name, &free(&one.aside, survey)),
        _ => Next::Done,
    }
}

/// Whether it is what waited. Where the server has no UUIDs, whatever has the name is.
fn is_it(waiting: &Waiting, found: &Found) -> bool {
    match (&waiting.uuid, &found.uuid) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

fn rename(from: &str, to: &str) -> Next {
    Next::Rename { from: from.to_owned(), to: to.to_owned() }
}

/// A name beside `aside` that nothing has.
fn free(aside: &str, survey: &Survey) -> String {
    let mut n = 0_u64;
    loop {
        let name = format!("{aside}_{n}");
        if !survey.has(&name) {
            return name;
        }
        n += 1;
    }
}

/// Does one step, and notes it in `survey`. Nothing is overwritten: a name that is taken is an error.
pub async fn apply(database: &Database, next: &Next, survey: &mut Survey) -> Result<(), EngineError> {
    match next {
        Next::Rename { from, to } => {
            let name = database.name();
            let command = doc! {
                "renameCollection": format!("{name}.{from}"), "to": format!("{name}.{to}"), "dropTarget": false,
                "writeConcern": { "w": "majority" },
            };
            let admin = database.client().database("admin");
            admin.run_command(command).await.map_err(failed(format!("renaming collection {from:?} to {to:?}")))?;
            survey.renamed(from, to);
            Ok(())
        }
        Next::DropView(name) => {
            drop_collection(database, name).await?;
            *survey = Survey::of(database).await?;
            Ok(())
        }
        Next::Give(marker) => {
            drop_collection(database, marker).await?;
            survey.unmarked(marker);
            Ok(())
        }
        Next::Done | Next::Blocked(_) => Ok(()),
    }
}

/// The views before the collections: on the way back they may have names that collections are to get.
pub async fn views_before(database: &Database, renames: &Renames, way: Way) -> Result<(), EngineError> {
    match way {
        Way::Forward => Ok(()),
        Way::Back => view::settle(database, &renames.views_in, &[]).await,
    }
}

/// After the collections: the views as they are to be.
pub async fn views_after(database: &Database, renames: &Renames, way: Way) -> Result<(), EngineError> {
    match way {
        Way::Forward => view::settle(database, &renames.views_out, &renames.views_in).await,
        Way::Back => view::settle(database, &[], &renames.views_out).await,
    }
}

/// Why there was no way on.
pub fn blocked(why: &str) -> EngineError {
    EngineError::new(ErrorCode::TargetChanged, why.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mongodb::bson::Document;
    use secrecy::SecretString;
    use shared::name::{HostName, UserName};
    use uuid::Uuid;

    use super::*;
    use crate::engine::{
        EngineKind, MongoAccess, SessionTag, TlsMode,
        mongodb::restore::{Tally, load::Collection},
    };

    fn at(job: Uuid) -> Connection {
        Connection {
            engine: EngineKind::Mongodb,
            host: HostName::parse("localhost").unwrap(),
            port: 1,
            user: UserName::parse("u").unwrap(),
            password: SecretString::from(""),
            tls: TlsMode::Disable,
            ca_pem: None,
            maintenance_database: DatabaseName::parse("admin").unwrap(),
            mongodb: MongoAccess::default(),
            session: SessionTag { job, epoch: 1 },
            installation: Uuid::now_v7(),
        }
    }

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
}
