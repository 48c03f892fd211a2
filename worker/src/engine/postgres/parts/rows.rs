//! Rows alone, into tables that exist and are empty.
//!
//! A save that holds the schema too has its tables in the order of their names, so foreign keys among the tables would
//! refuse the first rows. Those that the save makes just as they are now are dropped first and added again at the end, in
//! the same transaction: they are checked as a whole. Triggers fire.

use std::collections::HashSet;

use shared::name::DatabaseName;

use super::{
    super::{
        super::{Connection, EngineError, ErrorCode},
        archive::toc::Entry,
        connect::connect,
    },
    Half, Name, Part, Wanted,
    graph::{Graph, is_of, name},
    ident::qualified,
    listed,
    new::not_in_save,
    replace::{BEGUN, LOCK_WAIT},
    shown, survey,
};

/// Part of what the server says when a table was filled after it had been looked at.
pub(in super::super) const NOT_EMPTY: &str = "holdfast: the tables are not empty any more";

pub(super) async fn plan(
    at: &Connection,
    database: &DatabaseName,
    graph: &Graph<'_>,
    wanted: &Wanted,
    again: bool,
) -> Result<Part, EngineError> {
    let (chosen, missing) = graph.tables(&wanted.tables);
    not_in_save(graph, &missing)?;
    let mut session = connect(at, database).await?;
    let there = survey::existing(&mut session).await?;
    let all = wanted.tables.is_empty();
    let rows = |entry: &&Entry| is_of(Half::Rows, entry) && (all || chosen.contains(&graph.root(entry.id)));
    let mut taken: Vec<&Entry> = graph.toc.entries.iter().filter(rows).collect();
    if !all {
        // A save of rows alone does not say whose its sequences are.
        let owned: HashSet<Name> = survey::owned_sequences(&mut session, &wanted.tables).await?.into_iter().collect();
        let sets =
            graph.toc.entries.iter().filter(|entry| entry.desc == "SEQUENCE SET" && owned.contains(&name(entry)));
        taken.extend(sets.filter(|entry| graph.root(entry.id) == entry.id));
    }
    let needed =
        |kind: &str| taken.iter().filter(|entry| entry.desc == kind).map(|entry| name(entry)).collect::<Vec<_>>();
    let (tables, sequences) = (needed("TABLE DATA"), needed("SEQUENCE SET"));
    let absent = tables.iter().chain(&sequences).filter(|name| !there.relations.contains_key(*name));
    let absent: Vec<String> = absent.map(shown).collect();
    if !absent.is_empty() {
        let message = format!("the database has nothing that could take the rows of {}", listed(absent));
        return Err(EngineError::new(ErrorCode::TableMissing, message).with_hint("restore the structure first"));
    }
    let full = survey::with_rows(&mut session, &tables).await?;
    if !full.is_empty() {
        let full = listed(full.iter().map(shown));
        return Err(if again {
            let message = format!("an earlier attempt of this job may have restored the rows: {full} hold some");
            EngineError::new(ErrorCode::OutcomeUnknown, message)
        } else {
            EngineError::new(ErrorCode::TablesNotEmpty, format!("these tables hold rows: {full}"))
        });
    }
    let mut ids: HashSet<i64> = taken.iter().map(|entry| entry.id).collect();
    let mut before = LOCK_WAIT.to_owned();
    if !tables.is_empty() {
        before.push_str(&locked_and_empty(&tables));
    }
    for key in survey::foreign_keys_among(&mut session, &tables_of(&tables, graph)).await? {
        let saved = graph.toc.entries.iter().find(|entry| {
            entry.desc == "FK CONSTRAINT"
                && graph.entry(graph.root(entry.id)).is_some_and(|table| name(table) == key.table)
                && graph.short(entry) == key.name
                && key.is_made_by(&entry.definition)
        });
        if let Some(entry) = saved {
            ids.insert(entry.id);
            before.push_str(&key.drop());
        }
    }
    before.push_str(BEGUN);
    Part::of(graph.toc, &ids, Some(&before), Vec::new())
}

/// Nobody adds rows from here on, and nobody did.
fn locked_and_empty(tables: &[Name]) -> String {
    let lock: Vec<String> = tables.iter().map(|name| format!("ONLY {}", qualified(name))).collect();
    let rows: Vec<String> = lock.iter().map(|table| format!("EXISTS (SELECT FROM {table})")).collect();
    let error = format!("SELECT (CASE WHEN {} THEN '{NOT_EMPTY}' ELSE '0' END)::integer;\n", rows.join(" OR "));
    format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE;\n{error}", lock.join(", "))
}

/// The tables, and those that they are partitions of: foreign keys belong to these.
fn tables_of(tables: &[Name], graph: &Graph<'_>) -> Vec<Name> {
    let mut all: HashSet<Name> = tables.iter().cloned().collect();
    for table in tables {
        let mut next = graph.relation(table).and_then(|entry| graph.parent(entry.id));
        while let Some(parent) = next.and_then(|id| graph.entry(id)).filter(|parent| all.insert(name(parent))) {
            next = graph.parent(parent.id);
        }
    }
    all.into_iter().collect()
}
