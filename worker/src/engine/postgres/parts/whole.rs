//! Into a database that exists: everything of the save, in one transaction. What the save does not hold stays.
//!
//! The archive's own drop statements know the right order, with three exceptions. Those of what hangs on a table say
//! nothing that its table's does not, and fail: on partitions ("cannot drop inherited constraint") and on columns that a
//! later migration has dropped. Schemas and extensions that are there stay, since what the save does not hold may live
//! in them. And `pg_restore` waits for locks without end (it sets `lock_timeout` to 0 itself): the first statement of the
//! drops bounds it, carried by an entry that has none of its own and may as well come last.

use shared::name::DatabaseName;

use super::{
    super::{
        super::{Connection, EngineError},
        archive::toc::Entry,
        connect::connect,
    },
    Part,
    graph::Graph,
    patch::Patch,
    replace::LOCK_WAIT,
    survey,
};

/// What the tool does whatever its list says, and what belongs to the database itself.
const NOT_LISTED: [&str; 6] =
    ["ENCODING", "STDSTRINGS", "STDCONFORMINGSTRINGS", "SEARCHPATH", "DATABASE", "DATABASE PROPERTIES"];
/// What goes with its table.
const WITH_ITS_TABLE: [&str; 8] =
    ["CONSTRAINT", "CHECK CONSTRAINT", "INDEX", "DEFAULT", "TRIGGER", "POLICY", "ROW SECURITY", "STATISTICS"];
/// What stays if it is there.
const STAYS: [&str; 2] = ["SCHEMA", "EXTENSION"];
/// What has no drop statement, and may be restored after everything else.
const CARRIERS: [&str; 2] = ["COMMENT", "SEQUENCE SET"];

pub(super) async fn plan(at: &Connection, database: &DatabaseName, graph: &Graph<'_>) -> Result<Part, EngineError> {
    let there = survey::existing(&mut connect(at, database).await?).await?;
    let toc = graph.toc;
    let stays = |entry: &Entry| STAYS.contains(&entry.desc.as_str()) && there.has(entry);
    let listed = |entry: &&Entry| !NOT_LISTED.contains(&entry.desc.as_str()) && !stays(entry);
    let chosen = toc.entries.iter().filter(listed).map(|entry| entry.id).collect();
    let mut part = Part::of(toc, &chosen, None, Vec::new())?;
    let hangs = |entry: &&Entry| {
        chosen.contains(&entry.id)
            && (WITH_ITS_TABLE.contains(&entry.desc.as_str()) || STAYS.contains(&entry.desc.as_str()))
    };
    let silent = toc.entries.iter().filter(hangs);
    part.patches = silent.map(|entry| Patch { range: entry.drop_at.clone(), with: toc.text("") }).collect();
    let carrier = toc
        .entries
        .iter()
        .rev()
        .find(|entry| chosen.contains(&entry.id) && CARRIERS.contains(&entry.desc.as_str()) && !entry.had_dumper);
    if let Some(carrier) = carrier {
        part.list.retain(|id| *id != carrier.id);
        part.list.push(carrier.id);
        part.patches.push(Patch { range: carrier.drop_at.clone(), with: toc.text(LOCK_WAIT) });
        part.patches.sort_by_key(|patch| patch.range.start);
    }
    part.clean = true;
    part.if_exists = true;
    Ok(part)
}
