//! Into a new database: the chosen tables, and what they need.
//!
//! What needs a table that was not chosen is left out and said: a foreign key to it, a policy that asks it, a default from
//! its sequence. Only what a chosen table itself is made of, a parent it inherits from, comes along without its rows.

use std::collections::HashSet;

use super::{
    super::{
        super::{EngineError, ErrorCode},
        archive::toc::Entry,
    },
    Half, Name, Part, Wanted,
    graph::{Graph, is_of, is_table, is_view, name},
    listed, shown,
};

pub(super) fn plan(graph: &Graph<'_>, wanted: &Wanted) -> Result<Part, EngineError> {
    if wanted.half == Half::Rows {
        return Err(EngineError::new(ErrorCode::InvalidRequest, "rows alone cannot go into a new database"));
    }
    if wanted.tables.is_empty() {
        return whole(graph, wanted);
    }
    let (chosen, missing) = graph.tables(&wanted.tables);
    not_in_save(graph, &missing)?;
    let mut plan = Plan { graph, wanted, chosen, taken: HashSet::new(), along: Vec::new(), left_out: Vec::new() };
    let mut roots: Vec<i64> = plan.chosen.iter().copied().collect();
    roots.sort_unstable();
    for root in &roots {
        plan.core(*root);
    }
    for root in roots {
        plan.parts(root);
    }
    let mut warnings = Vec::new();
    if !plan.along.is_empty() {
        warnings.push(format!("without their rows, because what was chosen is made of them: {}", listed(plan.along)));
    }
    if !plan.left_out.is_empty() {
        plan.left_out.sort();
        warnings.push(format!("left out, because they need what was not chosen: {}", listed(plan.left_out)));
    }
    Part::of(graph.toc, &plan.taken, None, warnings)
}

/// Everything of a kind.
fn whole(graph: &Graph<'_>, wanted: &Wanted) -> Result<Part, EngineError> {
    let belongs = |entry: &&Entry| {
        let root = graph.entry(graph.root(entry.id)).map_or("", |root| root.desc.as_str());
        is_of(wanted.half, entry) && !root.starts_with("DATABASE") && !(wanted.skip_extensions && root == "EXTENSION")
    };
    let taken = graph.toc.entries.iter().filter(belongs).map(|entry| entry.id).collect();
    Part::of(graph.toc, &taken, None, Vec::new())
}

/// An error that names what is missing.
pub(super) fn not_in_save(graph: &Graph<'_>, missing: &[Name]) -> Result<(), EngineError> {
    if missing.is_empty() {
        return Ok(());
    }
    let what = |name: &Name| match graph.relation(name) {
        Some(other) => format!("{} (a {})", shown(name), other.desc.to_lowercase()),
        None => shown(name),
    };
    let message = format!("the save has no such tables: {}", listed(missing.iter().map(what)));
    Err(EngineError::new(ErrorCode::TableNotInSave, message))
}

/// What an entry is called in a message.
pub(super) fn called(entry: &Entry) -> String {
    let schema = if entry.namespace.is_empty() { String::new() } else { format!(" of schema {}", entry.namespace) };
    format!("{} {:?}{schema}", entry.desc.to_lowercase(), entry.tag)
}

struct Plan<'p, 'a> {
    graph: &'p Graph<'a>,
    wanted: &'p Wanted,
    chosen: HashSet<i64>,
    taken: HashSet<i64>,
    along: Vec<String>,
    left_out: Vec<String>,
}

impl Plan<'_, '_> {
    /// A relation itself, and whatever it is made of.
    fn core(&mut self, root: i64) {
        let Some(entry) = self.graph.entry(root) else { return };
        if !self.taken.insert(root) {
            return;
        }
        for other in self.graph.needs(entry) {
            let Some(needed) = self.graph.entry(other) else { continue };
            if is_table(needed) || is_view(needed) {
                if !self.chosen.contains(&other) && !self.taken.contains(&other) {
                    self.along.push(shown(&name(needed)));
                }
                self.core(other);
            } else {
                self.support(other);
            }
        }
    }

    /// A type, function, schema or the like, with all that belongs to it and all that it needs.
    fn support(&mut self, root: i64) {
        let Some(entry) = self.graph.entry(root) else { return };
        if self.taken.contains(&root) || entry.desc == "EXTENSION" && self.wanted.skip_extensions {
            return;
        }
        self.core(root);
        let parts: Vec<&Entry> = self.graph.members(root).filter(|part| is_of(self.wanted.half, part)).collect();
        for part in parts {
            self.taken.insert(part.id);
            for other in self.graph.needs(part) {
                self.support(other);
            }
        }
    }

    /// What belongs to a chosen table, as far as the new database can have it.
    fn parts(&mut self, root: i64) {
        let mut left_out = HashSet::new();
        let parts: Vec<&Entry> = self.graph.members(root).filter(|part| part.id != root).collect();
        for part in parts.into_iter().filter(|part| is_of(self.wanted.half, part)) {
            // What hangs on something that is left out goes with it: a comment, an attached index.
            let hangs = part.dependencies.iter().any(|id| left_out.contains(id));
            let needs = self.graph.needs(part);
            if hangs
                || part.desc == "PUBLICATION TABLE"
                || needs.iter().any(|other| self.lacks(*other, &mut HashSet::new()))
            {
                left_out.insert(part.id);
                if !hangs {
                    self.left_out.push(called(part));
                }
                continue;
            }
            self.taken.insert(part.id);
            for other in needs {
                if !self.chosen.contains(&other) {
                    self.support(other);
                }
            }
        }
    }

    /// Whether something needs a relation that the new database does not get.
    fn lacks(&self, root: i64, seen: &mut HashSet<i64>) -> bool {
        let Some(entry) = self.graph.entry(root) else { return false };
        if self.chosen.contains(&root) || self.taken.contains(&root) || !seen.insert(root) {
            return false;
        }
        is_table(entry) || is_view(entry) || self.graph.needs(entry).iter().any(|other| self.lacks(*other, seen))
    }
}
