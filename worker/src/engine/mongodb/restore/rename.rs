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

#[cfg(test)]
mod tests;

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
