//! Changes of an archive on its way to the tool: whole fields of its table of contents, replaced.

use std::{collections::HashSet, ops::Range};

use super::super::archive::toc::Toc;

/// Bytes of the archive that are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) range: Range<u64>,
    pub(crate) with: Vec<u8>,
}

/// Leaves none of the archive's own drop statements, and `before` as the one of the first that is restored: the tool runs
/// it with `--clean`, once, as the first statement of its transaction.
pub(super) fn drops(toc: &Toc, list: &[i64], before: &str) -> Vec<Patch> {
    let listed: HashSet<i64> = list.iter().copied().collect();
    let first = list.first();
    let entries = toc.entries.iter().filter(|entry| listed.contains(&entry.id));
    let patches = entries.map(|entry| Patch {
        range: entry.drop_at.clone(),
        with: toc.text(if Some(&entry.id) == first { before } else { "" }),
    });
    patches.collect()
}
