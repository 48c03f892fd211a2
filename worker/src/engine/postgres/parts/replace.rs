//! Into a database that exists: the chosen tables are replaced by the save's, in one transaction.
//!
//! What depends on them and must go for that comes back only from the save: foreign keys of other tables and views, where
//! the save makes exactly what is there now. Anything else that depends on them (a later view, a later foreign key, a
//! function, a partition that the save does not have) is in the way: nothing is touched, and the error names it. Types,
//! functions and schemas that the tables need are left alone where they exist, and created where they do not.

use std::collections::HashSet;

use shared::name::DatabaseName;

use super::{
    super::{
        super::{Connection, EngineError, ErrorCode},
        archive::toc::Entry,
        connect::connect,
    },
    Half, Name, Part, Wanted,
    graph::{Graph, is_of, is_relation, is_view, name},
    ident::qualified,
    listed,
    new::{called, not_in_save},
    shown,
    survey::{self, Dependents, Existing},
};

/// From here on the transaction has an id, by which the server tells later whether it was committed.
pub(super) const BEGUN: &str = "SELECT pg_catalog.txid_current();\n";
/// Seconds that the drops wait for locks.
pub(super) const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '60s';\n";

pub(super) async fn plan(
    at: &Connection,
    database: &DatabaseName,
    graph: &Graph<'_>,
    wanted: &Wanted,
) -> Result<Part, EngineError> {
    let (mut chosen, missing) = graph.tables(&wanted.tables);
    not_in_save(graph, &missing)?;
    let mut session = connect(at, database).await?;
    let there = survey::existing(&mut session).await?;
    let tables = names(graph, &chosen);
    are_tables(&there, &tables)?;
    if wanted.half == Half::Structure {
        let present: Vec<Name> =
            tables.iter().filter(|name| there.relations.get(*name) == Some(&'r')).cloned().collect();
        let full = survey::with_rows(&mut session, &present).await?;
        if !full.is_empty() {
            let message = format!("the save's structure would take the rows of {}", listed(full.iter().map(shown)));
            return Err(EngineError::new(ErrorCode::TablesNotEmpty, message));
        }
    }
    let mut in_the_way = Vec::new();
    let mut views = Vec::new();
    let found = loop {
        let found = survey::dependents(&mut session, &names(graph, &chosen)).await?;
        let more = take_views(graph, &found, &mut in_the_way, &chosen);
        if more.is_empty() {
            break found;
        }
        views.extend(more.iter().filter_map(|id| graph.entry(*id)).map(|view| shown(&name(view))));
        chosen.extend(more);
    };
    let mut plan =
        Plan { graph, wanted, there, found, chosen, taken: HashSet::new(), in_the_way, ..Plan::new(graph, wanted) };
    plan.dependents();
    plan.members();
    plan.foreign_keys();
    if !plan.in_the_way.is_empty() {
        plan.in_the_way.sort();
        plan.in_the_way.dedup();
        let message = format!(
            "these depend on the chosen tables, and the save does not bring them back as they are: {}",
            listed(plan.in_the_way)
        );
        return Err(EngineError::new(ErrorCode::DependentObjects, message));
    }
    if !plan.lacking.is_empty() {
        plan.lacking.sort();
        plan.lacking.dedup();
        let message = format!("the database lacks what the chosen tables need: {}", listed(plan.lacking));
        return Err(
            EngineError::new(ErrorCode::TableMissing, message).with_hint("restore these tables in the same job")
        );
    }
    if !views.is_empty() {
        plan.warnings.push(format!("dropped and created again as in the save: {}", listed(views)));
    }
    let before = plan.before();
    Part::of(graph.toc, &plan.taken, Some(&before), plan.warnings)
}

fn names(graph: &Graph<'_>, roots: &HashSet<i64>) -> Vec<Name> {
    let mut names: Vec<Name> = roots.iter().filter_map(|id| graph.entry(*id)).map(name).collect();
    names.sort();
    names
}

/// What has the name of a chosen table must be one.
fn are_tables(there: &Existing, tables: &[Name]) -> Result<(), EngineError> {
    let others = tables.iter().filter(|name| there.relations.get(*name).is_some_and(|kind| !"rpf".contains(*kind)));
    let others: Vec<String> = others.map(shown).collect();
    if others.is_empty() {
        return Ok(());
    }
    let message = format!("in the database these are no tables: {}", listed(others));
    Err(EngineError::new(ErrorCode::RestoreConflict, message).with_hint("rename or drop them first"))
}

/// Views of the destination that the save makes just so.
fn take_views(graph: &Graph<'_>, found: &Dependents, in_the_way: &mut Vec<String>, chosen: &HashSet<i64>) -> Vec<i64> {
    let mut more = Vec::new();
    for view in &found.views {
        let saved = graph.relation(&view.name).filter(|entry| is_view(entry));
        match saved.filter(|entry| view.is_made_by(&entry.definition)) {
            Some(entry) if !chosen.contains(&entry.id) => more.push(entry.id),
            Some(_) => {}
            None => in_the_way.push(format!("view {}", shown(&view.name))),
        }
    }
    more
}

struct Plan<'p, 'a> {
    graph: &'p Graph<'a>,
    wanted: &'p Wanted,
    there: Existing,
    found: Dependents,
    /// Roots: the tables, and the views that go and come with them.
    chosen: HashSet<i64>,
    /// Entries that are restored.
    taken: HashSet<i64>,
    /// Statements that drop foreign keys of other tables.
    drops: String,
    in_the_way: Vec<String>,
    lacking: Vec<String>,
    warnings: Vec<String>,
}

impl<'p, 'a> Plan<'p, 'a> {
    fn new(graph: &'p Graph<'a>, wanted: &'p Wanted) -> Self {
        Self {
            graph,
            wanted,
            there: Existing::default(),
            found: Dependents::default(),
            chosen: HashSet::new(),
            taken: HashSet::new(),
            drops: String::new(),
            in_the_way: Vec::new(),
            lacking: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// What goes with the tables and would not come back.
    fn dependents(&mut self) {
        let names: HashSet<Name> = names(self.graph, &self.chosen).into_iter().collect();
        let later = self.found.partitions.iter().filter(|name| !names.contains(*name));
        self.in_the_way.extend(later.map(|name| format!("partition {}", shown(name))));
        self.in_the_way.extend(self.found.others.iter().cloned());
        for (publication, table) in &self.found.publications {
            let tag = format!("{publication} {}", table.1);
            let saved =
                |entry: &&Entry| entry.desc == "PUBLICATION TABLE" && entry.tag == tag && entry.namespace == table.0;
            if !self.graph.toc.entries.iter().any(|entry| saved(&entry)) {
                self.in_the_way.push(format!("publication {publication} of {}", shown(table)));
            }
        }
    }

    /// What belongs to the tables, and what that needs.
    fn members(&mut self) {
        let graph = self.graph;
        let mut roots: Vec<i64> = self.chosen.iter().copied().collect();
        roots.sort_unstable();
        for entry in roots.into_iter().flat_map(|root| graph.members(root)) {
            if !is_of(self.wanted.half, entry) {
                continue;
            }
            if entry.desc == "PUBLICATION TABLE" {
                let publication = entry.dependencies.iter().filter_map(|id| graph.entry(*id));
                if !publication.filter(|other| other.desc == "PUBLICATION").any(|other| self.there.has(other)) {
                    self.warnings.push(format!("left out: {}", called(entry)));
                    continue;
                }
            }
            self.take(entry);
        }
    }

    fn take(&mut self, entry: &Entry) {
        if !self.taken.insert(entry.id) {
            return;
        }
        for other in self.graph.needs(entry) {
            self.need(other);
        }
    }

    /// Something that is there, or has to be created first.
    fn need(&mut self, root: i64) {
        let graph = self.graph;
        let Some(entry) = graph.entry(root) else { return };
        if self.chosen.contains(&root) || self.taken.contains(&root) || self.there.has(entry) {
            return;
        }
        if is_relation(entry) && entry.desc != "SEQUENCE" {
            self.lacking.push(shown(&name(entry)));
        } else if !(entry.desc == "EXTENSION" && self.wanted.skip_extensions) {
            for part in graph.members(root).filter(|part| is_of(self.wanted.half, part)) {
                self.take(part);
            }
        }
    }

    /// Foreign keys of other tables to the chosen ones.
    fn foreign_keys(&mut self) {
        let graph = self.graph;
        let mut unknown: HashSet<(Name, String)> =
            self.found.foreign_keys.iter().map(|key| (key.table.clone(), key.name.clone())).collect();
        for entry in graph.toc.entries.iter().filter(|entry| entry.desc == "FK CONSTRAINT") {
            let root = graph.root(entry.id);
            let needs = graph.needs(entry);
            let mut referenced = needs.iter().filter(|id| self.chosen.contains(id)).filter_map(|id| graph.entry(*id));
            let Some(table) = graph.entry(root).filter(|_| !self.chosen.contains(&root)) else { continue };
            let Some(first) = referenced.next() else { continue };
            let short = graph.short(entry).to_owned();
            let now = self.found.foreign_keys.iter().find(|key| key.table == name(table) && key.name == short);
            match now {
                Some(key) if key.is_made_by(&entry.definition) => {
                    self.drops.push_str(&key.drop());
                    unknown.remove(&(key.table.clone(), short));
                }
                Some(_) => continue,
                // It went with the table, if the table went.
                None if self.there.has(table) && !self.there.has(first) => {}
                None => {
                    self.warnings.push(format!("not added, since the database has it no more: {}", called(entry)));
                    continue;
                }
            }
            self.taken.insert(entry.id);
            let comments = graph
                .toc
                .entries
                .iter()
                .filter(|other| other.desc == "COMMENT" && other.dependencies.contains(&entry.id));
            self.taken.extend(comments.map(|comment| comment.id));
        }
        self.in_the_way.extend(unknown.iter().map(|(table, key)| format!("foreign key {key} of {}", shown(table))));
    }

    /// What runs first in the transaction: what stands in the place of the chosen tables goes.
    fn before(&self) -> String {
        let mut statements = vec![LOCK_WAIT.to_owned(), self.drops.clone()];
        let taken = || self.graph.toc.entries.iter().filter(|entry| self.taken.contains(&entry.id));
        // A view that needs another stands after it in the archive.
        let views: Vec<&Entry> = taken().filter(|entry| is_view(entry)).collect();
        for view in views.into_iter().rev() {
            statements.push(format!("DROP {} IF EXISTS {};\n", view.desc, qualified(&name(view))));
        }
        for kind in ["TABLE", "FOREIGN TABLE"] {
            let tables: Vec<String> =
                taken().filter(|entry| entry.desc == kind).map(|entry| qualified(&name(entry))).collect();
            if !tables.is_empty() {
                statements.push(format!("DROP {kind} IF EXISTS {};\n", tables.join(", ")));
            }
        }
        // A sequence of a table that the table does not own any more.
        for entry in
            taken().filter(|entry| entry.desc == "SEQUENCE" && self.chosen.contains(&self.graph.root(entry.id)))
        {
            statements.push(format!("DROP SEQUENCE IF EXISTS {};\n", qualified(&name(entry))));
        }
        statements.push(BEGUN.to_owned());
        statements.concat()
    }
}
