//! Part of a save: some tables, the structure alone, the rows alone, or all but the extensions.
//!
//! `pg_restore -t` restores the bare table and loses its primary key; so what belongs to a table is computed from the
//! archive's own table of contents ([`graph`]), together with what it needs, and given to `pg_restore -L`. What the drops
//! of `pg_restore --clean` would be is not left to it either: they fail on partitions and on columns that are gone. All
//! drop statements of the archive are replaced on its way by one of ours ([`patch`]), which also bounds the wait for locks
//! (`pg_restore` resets `lock_timeout` itself).
//!
//! `pg_restore` with a list stops reading, and commits, when it has all it needs. So the archive is read and checked as a
//! whole before, and on the second reading the last byte that the tool needs is held back until the whole has been checked
//! again ([`gate`]).

pub(crate) mod gate;
mod graph;
mod ident;
mod new;
mod patch;
mod replace;
mod rows;
mod survey;
mod transaction;
mod whole;

use std::collections::HashSet;

use shared::name::DatabaseName;
use tokio_util::sync::CancellationToken;

pub(in super::super::postgres) use self::rows::NOT_EMPTY;
pub(crate) use self::transaction::Ended;
use self::{graph::Graph, patch::Patch};
use super::{
    super::{
        Connection, EngineError, ErrorCode, Restore, RestoreOptions,
        clients::{Client, Restorable},
    },
    Postgres,
    archive::toc::{Entry, Toc},
    classify,
    connect::cancellable,
    not_started,
    restore::arguments,
};

/// Which half of the chosen objects is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Both,
    Structure,
    Rows,
}

/// A table by schema and name.
pub(crate) type Name = (String, String);

/// What is wanted of a save.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// Empty: everything.
    pub(crate) tables: Vec<Name>,
    pub(crate) half: Half,
    /// Extensions are there, or not wanted.
    pub(crate) skip_extensions: bool,
}

/// What `pg_restore` is to do, and how far it may be let.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Dump ids in the order in which they are restored.
    pub(crate) list: Vec<i64>,
    /// Changes of the archive on its way to the tool.
    pub(crate) patches: Vec<Patch>,
    /// The place of the byte without which the tool cannot have finished.
    pub(crate) hold: u64,
    /// Whether the tool is in the middle of its transaction at that byte; else it has not begun.
    pub(crate) holds_in_data: bool,
    /// Whether the drop statements are run.
    pub(crate) clean: bool,
    /// Whether the tool makes them pass over what is not there.
    pub(crate) if_exists: bool,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
}

impl Part {
    /// `before` runs first in the tool's transaction.
    fn of(toc: &Toc, chosen: &HashSet<i64>, before: Option<&str>, warnings: Vec<String>) -> Result<Self, EngineError> {
        let mut list: Vec<i64> =
            toc.entries.iter().filter(|entry| chosen.contains(&entry.id)).map(|entry| entry.id).collect();
        let graph = Graph::of(toc);
        list.sort_by_key(|id| graph.entry(*id).map_or(0, |entry| lateness(&graph, entry, chosen)));
        if list.is_empty() {
            return Err(EngineError::new(ErrorCode::TableNotInSave, "the save holds nothing of what was asked for"));
        }
        let last_block = toc.blocks.iter().rev().find(|(id, _)| chosen.contains(id));
        let end = last_block.map_or(toc.end, |(_, end)| *end);
        let patches = before.map(|before| patch::drops(toc, &list, before)).unwrap_or_default();
        Ok(Self {
            list,
            patches,
            hold: end.saturating_sub(1),
            holds_in_data: last_block.is_some(),
            clean: before.is_some(),
            if_exists: false,
            warnings,
        })
    }

    /// As `-L` wants it.
    fn file(&self) -> String {
        self.list.iter().flat_map(|id| [id.to_string(), ";\n".to_owned()]).collect()
    }
}

impl Postgres {
    /// What of a save goes into a new database.
    pub(crate) fn part_for_new(toc: &Toc, wanted: &Wanted) -> Result<Part, EngineError> {
        new::plan(&Graph::of(toc), wanted)
    }

    /// The whole of a save into a database that exists, after a look at it.
    pub(crate) async fn all_for_existing(
        &self,
        at: &Connection,
        database: &DatabaseName,
        toc: &Toc,
        cancel: &CancellationToken,
    ) -> Result<Part, EngineError> {
        cancellable(cancel, whole::plan(at, database, &Graph::of(toc))).await
    }

    /// What of a save goes into a database that exists, after a look at it. `again`: an earlier attempt may have done it.
    pub(crate) async fn part_for_existing(
        &self,
        at: &Connection,
        database: &DatabaseName,
        toc: &Toc,
        wanted: &Wanted,
        again: bool,
        cancel: &CancellationToken,
    ) -> Result<Part, EngineError> {
        let graph = Graph::of(toc);
        let planned = async {
            match wanted.half {
                Half::Rows => rows::plan(at, database, &graph, wanted, again).await,
                Half::Both | Half::Structure => replace::plan(at, database, &graph, wanted).await,
            }
        };
        cancellable(cancel, planned).await
    }

    /// Starts `pg_restore` with a list. Its input must go through a [`gate::Gate`] for this part.
    pub(crate) async fn restore_part(
        &self,
        at: &Connection,
        database: &DatabaseName,
        part: &Part,
        saved: &Restorable,
        options: &RestoreOptions,
        cancel: &CancellationToken,
    ) -> Result<Restore, EngineError> {
        let client: &Client = self.client_for_restore(at, saved, cancel).await?;
        let mut tool = self.tool(at, Some(database), client, "pg_restore")?;
        tool.piped_stdin = true;
        tool.args = arguments(database, options);
        if let Some(dir) = &tool.dir {
            let list = dir.write("list", part.file().as_bytes()).map_err(not_started("pg_restore"))?;
            tool.args.extend(["-L".into(), list.into()]);
        }
        if part.clean {
            tool.args.push("--clean".into());
        }
        if part.if_exists {
            tool.args.push("--if-exists".into());
        }
        let started = self.launcher.start(tool, cancel).await.map_err(not_started("pg_restore"))?;
        Ok(Restore::of_process(started, "pg_restore", classify::stderr))
    }
}

/// How late beside its place in the archive something is restored.
fn lateness(graph: &Graph<'_>, entry: &Entry, chosen: &HashSet<i64>) -> u8 {
    // A partition whose parent stays gets what that has when it is attached: so its own indexes must be there before.
    let alone = || graph.parent(graph.root(entry.id)).is_some_and(|parent| !chosen.contains(&parent));
    match entry.desc.as_str() {
        "TABLE ATTACH" if alone() => 1,
        "INDEX ATTACH" if alone() => 2,
        // Last, because no transaction takes it back: what can fail has happened by then.
        "SEQUENCE SET" => 3,
        _ => 0,
    }
}

/// `a, b and 3 more`
fn listed(names: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<String> = names.into_iter().collect();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    let text = names.join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}

/// `schema.table`, as people write it.
fn shown((schema, name): &Name) -> String {
    format!("{}.{}", ident::shown(schema), ident::shown(name))
}
