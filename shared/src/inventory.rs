//! The inventory of a save: per table or collection how many rows or documents it holds, how many bytes they are, and a
//! digest that is the same in whatever order they come. Counted while the bytes of a dump pass, and again after a restore.
//! Part of the manifest. Version 1.
//!
//! The digest of a table is the sum, modulo 2^128, of the XXH3-128 (seed 0) of each of its rows: equal rows count as often
//! as they occur, and their order does not matter, which no dump promises. It finds damage and drift, not forgery: against
//! that stand the digests of the objects and the manifest's signature. What the bytes of a row are:
//!
//! - a **table**: the line of `COPY … TO STDOUT` in text format without its end, as `pg_dump` asks for it;
//! - a **collection**: the BSON of a document;
//! - the **large objects** of a database, all together one entry: the object's number as four bytes, the highest first, and
//!   then its contents; `bytes` counts the contents alone.

use std::{cmp::Reverse, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The version this code writes. What is newer cannot be compared by it.
pub const VERSION: u32 = 1;

/// Entries that are listed one by one; of what is beyond, the sums are kept. The manifest stands in a row, in each copy
/// and in answers of the API: with so many it has about 2 MB, whatever the database has.
pub const MOST_ENTRIES: usize = 10_000;

/// What a dump holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inventory {
    pub v: u32,
    /// Of all entries and the rest.
    pub rows: u64,
    pub bytes: u64,
    /// The character set that rows and names were written in, where there is a choice: `UTF8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// By kind, schema and name; at most [`MOST_ENTRIES`].
    pub entries: Vec<Entry>,
    /// What is not listed because there is too much: all that has less bytes than the listed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// One table or collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InventoryEntry))]
pub struct Entry {
    #[serde(default)]
    pub kind: Kind,
    /// Of a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Empty for large objects, which have none.
    pub name: String,
    #[serde(flatten)]
    pub count: Count,
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InventoryKind))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Table,
    Collection,
    /// All large objects of a database; each is a row.
    LargeObjects,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InventoryCount))]
pub struct Count {
    pub rows: u64,
    pub bytes: u64,
    pub digest: Digest,
}

/// The sum over what is not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = InventoryRest))]
pub struct Rest {
    /// How many tables or collections.
    pub entries: u64,
    /// The sums of theirs, of the digests too.
    #[serde(flatten)]
    pub count: Count,
}

/// A sum of row digests modulo 2^128: as text 32 hex digits, the highest first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(
    feature = "openapi",
    derive(utoipa::ToSchema),
    schema(as = InventoryDigest, value_type = String, pattern = "^[0-9a-f]{32}$", examples("00112233445566778899aabbccddeeff"))
)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub u128);

impl Inventory {
    /// Orders the entries, and keeps no more than [`MOST_ENTRIES`] of them one by one: those with the most bytes.
    #[must_use]
    pub fn of(entries: Vec<Entry>, encoding: Option<String>) -> Self {
        Self::bounded(entries, encoding, MOST_ENTRIES)
    }

    fn bounded(mut entries: Vec<Entry>, encoding: Option<String>, most: usize) -> Self {
        let sum = |entries: &[Entry]| {
            entries.iter().fold(Count::default(), |mut sum, entry| {
                sum.add(&entry.count);
                sum
            })
        };
        let Count { rows, bytes, .. } = sum(&entries);
        let by_name = |a: &Entry, b: &Entry| a.key().cmp(&b.key());
        let mut rest = None;
        if entries.len() > most {
            entries.sort_unstable_by(|a, b| {
                Reverse(a.count.bytes).cmp(&Reverse(b.count.bytes)).then_with(|| by_name(a, b))
            });
            let small = entries.split_off(most);
            rest = Some(Rest { entries: small.len() as u64, count: sum(&small) });
        }
        entries.sort_unstable_by(by_name);
        Self { v: VERSION, rows, bytes, encoding, entries, rest }
    }
}

impl Entry {
    /// What makes it the same one in two inventories.
    #[must_use]
    pub fn key(&self) -> (Kind, Option<&str>, &str) {
        (self.kind, self.schema.as_deref(), &self.name)
    }
}

impl Count {
    /// Counts a row of so many bytes with this XXH3-128.
    pub fn row(&mut self, bytes: u64, xxh3: u128) {
        self.add(&Self { rows: 1, bytes, digest: Digest(xxh3) });
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.rows = self.rows.saturating_add(other.rows);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.digest.0 = self.digest.0.wrapping_add(other.digest.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// A text that is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest of an inventory is 32 lower-case hex digits")]
pub struct DigestError;

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let is_hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex {
            return Err(DigestError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| DigestError)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, rows: u64, bytes: u64, digest: u128) -> Entry {
        let count = Count { rows, bytes, digest: Digest(digest) };
        Entry { kind: Kind::Table, schema: Some("public".into()), name: name.into(), count }
    }

    #[test]
    fn rows_add_up_in_any_order() {
        let (mut a, mut b) = (Count::default(), Count::default());
        for (bytes, xxh3) in [(1, u128::MAX), (2, 7), (3, 7)] {
            a.row(bytes, xxh3);
        }
        for (bytes, xxh3) in [(3, 7), (1, u128::MAX), (2, 7)] {
            b.row(bytes, xxh3);
        }
        assert_eq!(a, b);
        assert_eq!(a, Count { rows: 3, bytes: 6, digest: Digest(13) });
    }

    #[test]
    fn the_written_form_is_stable() {
        let inventory = Inventory::of(vec![entry("b", 2, 9, 0xabc), entry("a", 0, 0, 0)], Some("UTF8".into()));
        let json = serde_json::to_value(&inventory).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "v": 1, "rows": 2, "bytes": 9, "encoding": "UTF8",
                "entries": [
                    { "kind": "table", "schema": "public", "name": "a", "rows": 0, "bytes": 0,
                      "digest": "00000000000000000000000000000000" },
                    { "kind": "table", "schema": "public", "name": "b", "rows": 2, "bytes": 9,
                      "digest": "00000000000000000000000000000abc" },
                ],
            })
        );
        assert_eq!(serde_json::from_value::<Inventory>(json).unwrap(), inventory);
        for bad in ["", "abc", "+0000000000000000000000000000abc", "00000000000000000000000000000ABC"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn of_too_many_the_largest_are_listed_and_the_sums_hold() {
        let all: Vec<_> = (0..10_u64).map(|n| entry(&format!("t{n}"), 1, n, u128::from(n))).collect();
        let inventory = Inventory::bounded(all, None, 3);
        let names: Vec<_> = inventory.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["t7", "t8", "t9"]);
        assert_eq!((inventory.rows, inventory.bytes), (10, 45));
        let rest = Rest { entries: 7, count: Count { rows: 7, bytes: 21, digest: Digest(21) } };
        assert_eq!(inventory.rest, Some(rest));
    }
}
