//! What a dump holds, as far as a look needs it, from its head alone: the table of contents stands before all data.

use std::{collections::BTreeSet, io::Write as _};

use super::super::archive::toc::{Listing, Toc};

/// More than any table of contents has.
const HEAD_BYTES: u64 = 64 << 20;

/// The parts of a table of contents that a server may not be able to take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    pub(super) extensions: BTreeSet<String>,
    pub(super) owners: BTreeSet<String>,
    pub(super) grantees: BTreeSet<String>,
    /// Schema and name of tables, sequences, views and materialized views.
    pub(super) relations: BTreeSet<(String, String)>,
    /// Tables among them, which may have a TOAST table each.
    pub(super) tables: u64,
    /// The whole list.
    pub(super) toc: Toc,
    /// Locks that one transaction needs which makes it all, without those of TOAST tables.
    pub(super) locks: u64,
}

impl Contents {
    /// The owners of these relations.
    pub(super) fn owners_of(&self, relations: &[(String, String)]) -> BTreeSet<String> {
        let chosen = |schema: &str, name: &str| relations.iter().any(|(s, n)| s == schema && n == name);
        let entries =
            self.toc.entries.iter().filter(|entry| !entry.owner.is_empty() && chosen(&entry.namespace, &entry.tag));
        entries.map(|entry| entry.owner.clone()).collect()
    }

    fn of(toc: &Toc) -> Self {
        let mut contents = Self { toc: toc.clone(), ..Self::default() };
        for entry in &toc.entries {
            if !entry.owner.is_empty() {
                contents.owners.insert(entry.owner.clone());
            }
            match entry.desc.as_str() {
                "EXTENSION" => drop(contents.extensions.insert(entry.tag.clone())),
                "ACL" | "DEFAULT ACL" => contents.grantees.extend(grantees(&entry.definition)),
                "TABLE" | "SEQUENCE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" => {
                    contents.relations.insert((entry.namespace.clone(), entry.tag.clone()));
                    contents.tables += u64::from(matches!(entry.desc.as_str(), "TABLE" | "MATERIALIZED VIEW"));
                    contents.locks += 1;
                }
                // Each is a relation, or is locked like one.
                "INDEX" | "CONSTRAINT" | "BLOB" | "BLOB METADATA" => contents.locks += 1,
                _ => {}
            }
        }
        contents
    }
}

/// Reads the head of a stored dump, piece by piece.
pub struct Reading {
    unzstd: zstd::stream::write::Decoder<'static, Vec<u8>>,
    archive: Listing,
    read: u64,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("read", &self.read).finish_non_exhaustive()
    }
}

impl Reading {
    /// At the first stored byte.
    pub fn begin() -> std::io::Result<Self> {
        Ok(Self { unzstd: zstd::stream::write::Decoder::new(Vec::new())?, archive: Listing::default(), read: 0 })
    }

    /// The next stored bytes. The contents as soon as they are whole.
    pub fn feed(&mut self, stored: &[u8]) -> std::io::Result<Option<Contents>> {
        // Little by little: the head is small, and a whole block may expand to much.
        for piece in stored.chunks(64 << 10) {
            self.unzstd.write_all(piece)?;
            self.unzstd.flush()?;
            let raw = std::mem::take(self.unzstd.get_mut());
            self.read += raw.len() as u64;
            self.archive.feed(&raw);
            if let Some(toc) = self.archive.toc() {
                return Ok(Some(Contents::of(toc)));
            }
            if self.read > HEAD_BYTES {
                return Err(std::io::Error::other("the dump has no table of contents where it should be"));
            }
        }
        Ok(None)
    }
}

/// The roles that statements grant to or revoke from: the names after the last TO or FROM of each.
fn grantees(statements: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for statement in statements.split(";\n") {
        let statement = statement.trim().trim_end_matches(';');
        let statement = statement.strip_suffix(" WITH GRANT OPTION").unwrap_or(statement);
        let word = if statement.contains("REVOKE") { " FROM " } else { " TO " };
        let Some((_, name)) = statement.rsplit_once(word) else { continue };
        let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None if name == "PUBLIC" => continue,
            None => name.to_owned(),
        };
        found.insert(name);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grantees_are_read_as_pg_dump_writes_them() {
        let acl = "REVOKE USAGE ON SCHEMA public FROM PUBLIC;\nGRANT SELECT ON TABLE public.lots TO reader;\n\
                   GRANT ALL ON TABLE public.lots TO \"it's \"\"me\"\" TO\" WITH GRANT OPTION;\n";
        assert_eq!(grantees(acl).into_iter().collect::<Vec<_>>(), ["it's \"me\" TO", "reader"]);
    }

    #[test]
    fn the_head_is_enough() {
        let dump = include_bytes!("../archive/18.dump");
        let stored = zstd::encode_all(dump.as_slice(), 1).unwrap();
        let mut reading = Reading::begin().unwrap();
        let contents = stored.chunks(100).find_map(|piece| reading.feed(piece).unwrap()).unwrap();
        assert!(!contents.relations.is_empty() && contents.locks >= contents.relations.len() as u64, "{contents:?}");
        assert!(!contents.owners.is_empty());
        assert!(Reading::begin().unwrap().feed(b"this was never compressed at all").is_err());
    }
}
