//! What in a table of contents belongs to what.
//!
//! Every entry has a root: the relation it is part of, or itself. Dependencies decide; of the several relations that a
//! foreign key, a rule or a policy depends on it belongs to the one whose name its tag begins with, in its own schema.

use std::collections::{HashMap, HashSet};

use super::{
    super::archive::toc::{Entry, Toc},
    Half, Name, ident,
};

#[derive(Debug)]
pub(super) struct Graph<'a> {
    pub(super) toc: &'a Toc,
    by_id: HashMap<i64, &'a Entry>,
    roots: HashMap<i64, i64>,
    /// Tables, views and sequences: their names are one name space.
    relations: HashMap<Name, i64>,
    /// What belongs to each root, itself included, in the archive's order.
    members: HashMap<i64, Vec<i64>>,
    schemas: HashMap<&'a str, i64>,
    extensions: Vec<i64>,
    /// A partition's parent.
    parents: HashMap<i64, i64>,
}

/// Kinds whose tag is `<table> <name>`.
const TAGGED: [&str; 7] = ["DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "RULE", "TRIGGER", "POLICY"];

pub(super) fn is_table(entry: &Entry) -> bool {
    matches!(entry.desc.as_str(), "TABLE" | "FOREIGN TABLE")
}

pub(super) fn is_view(entry: &Entry) -> bool {
    matches!(entry.desc.as_str(), "VIEW" | "MATERIALIZED VIEW")
}

pub(super) fn is_relation(entry: &Entry) -> bool {
    is_table(entry) || is_view(entry) || entry.desc == "SEQUENCE"
}

/// Whether an entry brings rows or what is counted by them.
pub(super) fn is_rows(entry: &Entry) -> bool {
    const ROWS: [&str; 5] = ["TABLE DATA", "SEQUENCE SET", "BLOB", "BLOBS", "BLOB METADATA"];
    ROWS.contains(&entry.desc.as_str())
}

/// Whether this half of a save has the entry.
pub(super) fn is_of(half: Half, entry: &Entry) -> bool {
    match half {
        Half::Both => true,
        Half::Structure => {
            !is_rows(entry) && !matches!(entry.desc.as_str(), "MATERIALIZED VIEW DATA" | "STATISTICS DATA")
        }
        Half::Rows => is_rows(entry),
    }
}

pub(super) fn name(entry: &Entry) -> Name {
    (entry.namespace.clone(), entry.tag.clone())
}

impl<'a> Graph<'a> {
    pub(super) fn of(toc: &'a Toc) -> Self {
        let by_id: HashMap<i64, &Entry> = toc.entries.iter().map(|entry| (entry.id, entry)).collect();
        let mut relations: HashMap<Name, i64> = HashMap::new();
        // A save of rows alone has nothing but the rows of a table for it.
        for entry in toc.entries.iter().filter(|entry| entry.desc == "TABLE DATA") {
            relations.insert(name(entry), entry.id);
        }
        for entry in toc.entries.iter().filter(|entry| is_relation(entry)) {
            relations.insert(name(entry), entry.id);
        }
        let schemas = toc.entries.iter().filter(|entry| entry.desc == "SCHEMA");
        let mut graph = Self {
            toc,
            extensions: toc.entries.iter().filter(|entry| entry.desc == "EXTENSION").map(|entry| entry.id).collect(),
            schemas: schemas.map(|entry| (entry.tag.as_str(), entry.id)).collect(),
            by_id,
            roots: HashMap::new(),
            relations,
            members: HashMap::new(),
            parents: HashMap::new(),
        };
        let above: HashMap<i64, i64> =
            toc.entries.iter().filter_map(|entry| Some((entry.id, graph.above(entry)?))).collect();
        for entry in &toc.entries {
            let mut root = entry.id;
            // As many steps as anything can be deep: comment → foreign key → table, sequence set → sequence → table.
            for _ in 0..8 {
                match above.get(&root) {
                    Some(next) => root = *next,
                    None => break,
                }
            }
            graph.roots.insert(entry.id, root);
            graph.members.entry(root).or_default().push(entry.id);
        }
        for entry in toc.entries.iter().filter(|entry| entry.desc == "TABLE ATTACH") {
            let child = graph.root(entry.id);
            let parent = entry.dependencies.iter().copied().find(|id| *id != child && graph.root(*id) == *id);
            if let Some(parent) = parent {
                graph.parents.insert(child, parent);
            }
        }
        graph
    }

    pub(super) fn entry(&self, id: i64) -> Option<&'a Entry> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn root(&self, id: i64) -> i64 {
        self.roots.get(&id).copied().unwrap_or(id)
    }

    pub(super) fn relation(&self, name: &Name) -> Option<&'a Entry> {
        self.relations.get(name).and_then(|id| self.entry(*id))
    }

    pub(super) fn members(&self, root: i64) -> impl Iterator<Item = &'a Entry> {
        self.members.get(&root).into_iter().flatten().filter_map(|id| self.entry(*id))
    }

    pub(super) fn parent(&self, partition: i64) -> Option<i64> {
        self.parents.get(&partition).copied()
    }

    /// Those tables with all their partitions, and those names that are no tables of the save.
    pub(super) fn tables(&self, wanted: &[Name]) -> (HashSet<i64>, Vec<Name>) {
        let (mut found, mut missing) = (HashSet::new(), Vec::new());
        for name in wanted {
            match self.relation(name).filter(|entry| is_table(entry) || entry.desc == "TABLE DATA") {
                Some(entry) => drop(found.insert(entry.id)),
                None => missing.push(name.clone()),
            }
        }
        loop {
            let more: Vec<i64> = self
                .parents
                .iter()
                .filter(|(child, parent)| found.contains(*parent) && !found.contains(*child))
                .map(|(child, _)| *child)
                .collect();
            if more.is_empty() {
                return (found, missing);
            }
            found.extend(more);
        }
    }

    /// What is a step above an entry, if it is a part of something.
    fn above(&self, entry: &Entry) -> Option<i64> {
        let dependencies = || entry.dependencies.iter().filter_map(|id| self.entry(*id));
        let own = |tag: &str| self.relations.get(&(entry.namespace.clone(), tag.to_owned())).copied();
        let above = match entry.desc.as_str() {
            "TABLE DATA"
            | "MATERIALIZED VIEW DATA"
            | "TABLE ATTACH"
            | "ROW SECURITY"
            | "SEQUENCE OWNED BY"
            | "SEQUENCE SET" => own(&entry.tag),
            "SEQUENCE" | "PUBLICATION TABLE" => dependencies().find(|other| is_table(other)).map(|other| other.id),
            "INDEX" | "STATISTICS" => {
                dependencies().find(|other| is_table(other) || other.desc == "MATERIALIZED VIEW").map(|other| other.id)
            }
            "STATISTICS DATA" => own(&entry.tag).or_else(|| dependencies().next().map(|other| other.id)),
            "INDEX ATTACH" => {
                let constraint = format!(" {}", entry.tag);
                let is_its = |other: &&Entry| {
                    other.namespace == entry.namespace
                        && (other.desc == "INDEX" && other.tag == entry.tag
                            || other.desc == "CONSTRAINT" && other.tag.ends_with(&constraint))
                };
                dependencies().find(is_its).map(|other| other.id)
            }
            "COMMENT" | "SECURITY LABEL" => dependencies().next().map(|other| other.id),
            "ACL" => dependencies().find(|other| other.desc != "ACL").map(|other| other.id),
            kind if TAGGED.contains(&kind) => self.tagged(entry),
            _ => None,
        };
        above.filter(|id| *id != entry.id)
    }

    fn tagged(&self, entry: &Entry) -> Option<i64> {
        let rest = |other: &Entry| entry.tag.strip_prefix(&other.tag).is_some_and(|rest| rest.starts_with(' '));
        let candidates = entry.dependencies.iter().filter_map(|id| self.entry(*id));
        let mut candidates: Vec<&Entry> =
            candidates.filter(|other| other.namespace == entry.namespace && rest(other)).collect();
        if let Some(table) = ident::altered(&entry.definition)
            && candidates.iter().any(|other| name(other) == table)
        {
            candidates.retain(|other| name(other) == table);
        }
        candidates.iter().max_by_key(|other| other.tag.len()).map(|other| other.id)
    }

    /// The name of a constraint, index or the like without that of its table.
    pub(super) fn short<'e>(&self, entry: &'e Entry) -> &'e str {
        let root = self.entry(self.root(entry.id));
        root.and_then(|root| entry.tag.strip_prefix(&root.tag)?.strip_prefix(' ')).unwrap_or(&entry.tag)
    }

    /// What the archive says that an entry needs, beside what belongs to it: roots, its schema among them. A partition's
    /// parts also depend on its parent's: those are left out.
    pub(super) fn needs(&self, entry: &Entry) -> HashSet<i64> {
        let own = self.root(entry.id);
        let mut parents = HashSet::new();
        let mut next = self.parent(own);
        while let Some(parent) = next.filter(|parent| parents.insert(*parent)) {
            next = self.parent(parent);
        }
        let attaches = matches!(entry.desc.as_str(), "TABLE ATTACH" | "INDEX ATTACH");
        let needed = entry.dependencies.iter().filter(|id| self.by_id.contains_key(*id)).map(|id| self.root(*id));
        let mut needed: HashSet<i64> =
            needed.filter(|root| *root != own && (attaches || !parents.contains(root))).collect();
        needed.extend(self.schemas.get(entry.namespace.as_str()));
        if entry.definition.contains(" EXCLUDE USING ") {
            // Its operator classes may be an extension's, which the archive does not say.
            needed.extend(&self.extensions);
        }
        needed
    }
}
