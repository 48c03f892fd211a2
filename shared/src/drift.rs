//! Shape drift: whether a save is out of line with the saves of its target before it. Judged from inventories alone, when a
//! backup becomes available; the judgement is pure.
//!
//! What is normal is what the newest sound saves say, up to [`Drift::compare_with`] of them and no further back than the last one
//! that a person accepted. A first save is never suspicious.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    inventory::{Entry, Inventory, Kind},
    schedule::is_like,
};

/// When a save of the target is suspicious. What is left out has the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Drift {
    /// By how many of a hundred the rows of a table or the documents of a collection fall at least; 60 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 100))]
    pub rows_percent: Option<u8>,
    /// By how many of a hundred the whole shrinks at least; 80 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 100))]
    pub size_percent: Option<u8>,
    /// How many saves it is held against; 5 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 20))]
    pub compare_with: Option<u8>,
    /// Suspicious when it holds, to the last row, what so many saves before it hold; none: that is never suspicious.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 365))]
    pub unchanged_saves: Option<u16>,
    /// Tables and collections that may change as they like: `schema.table`, `table` or `collection`, with `*` and `?`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 100, example = json!(["public.sessions", "audit_*"])))]
    pub ignore: Vec<String>,
    /// Nothing is suspicious.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub off: bool,
}

/// Why a value cannot be used: the member, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member} {problem}")]
pub struct DriftError {
    pub member: &'static str,
    pub problem: &'static str,
}

impl Drift {
    /// The bounds that the types do not hold.
    pub fn check(&self) -> Result<(), DriftError> {
        let percent = |value: Option<u8>| value.is_none_or(|value| (1..=100).contains(&value));
        let is_pattern = |text: &String| (1..=200).contains(&text.chars().count()) && !text.contains(char::is_control);
        let rules = [
            ("rows_percent", percent(self.rows_percent), "must be 1 to 100"),
            ("size_percent", percent(self.size_percent), "must be 1 to 100"),
            ("compare_with", self.compare_with.is_none_or(|n| (1..=20).contains(&n)), "must be 1 to 20"),
            ("unchanged_saves", self.unchanged_saves.is_none_or(|n| (1..=365).contains(&n)), "must be 1 to 365"),
            ("ignore", self.ignore.len() <= 100, "must name at most 100 patterns"),
            ("ignore", self.ignore.iter().all(is_pattern), "must hold patterns of 1 to 200 printable characters"),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((member, _, problem)) => Err(DriftError { member, problem }),
            None => Ok(()),
        }
    }

    /// How many saves it is held against.
    #[must_use]
    pub fn compared(&self) -> u8 {
        self.compare_with.unwrap_or(5)
    }

    fn is_ignored(&self, entry: &Entry) -> bool {
        let whole = name(entry);
        self.ignore.iter().any(|pattern| is_like(pattern, &whole) || is_like(pattern, &entry.name))
    }
}

/// What of a save is compared.
#[derive(Debug, Clone, Default)]
pub struct Shape {
    /// Of the dump.
    pub raw_bytes: u64,
    /// None: it was not counted.
    pub inventory: Option<Inventory>,
}

/// In what a save is out of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = SuspicionKind))]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The whole is much smaller.
    Smaller,
    /// A table or collection is not there any more.
    Vanished,
    /// It was never empty, and is.
    Empty,
    /// It has far fewer rows.
    FewerRows,
    /// Everything is as it was for longer than it should be.
    Unchanged,
    /// There is more of the kind than is listed.
    More,
}

/// One thing in which a save is out of line with those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Suspicion {
    pub why: Why,
    /// The table or collection; none: the whole save.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// In words.
    #[cfg_attr(feature = "openapi", schema(example = "public.bids has 12 rows; usual are 40321"))]
    pub reason: String,
}

/// Suspicions that are listed one by one.
const MOST: usize = 20;
/// Of fewer rows than these a percentage says nothing.
const FEW_ROWS: u64 = 10;

/// Holds a save against the earlier ones, the newest first. `unchanged`: how many of them in a row, from the newest, hold the same
/// as it does, to the last row.
#[must_use]
pub fn judge(save: &Shape, earlier: &[Shape], unchanged: u16, drift: &Drift) -> Vec<Suspicion> {
    if drift.off || earlier.is_empty() {
        return Vec::new();
    }
    let earlier = &earlier[..earlier.len().min(usize::from(drift.compared()))];
    let mut found: Vec<Suspicion> = smaller(save, earlier, drift).into_iter().collect();
    let mut tables = tables(save, earlier, drift);
    tables.sort_by(|a, b| (a.why, &a.name).cmp(&(b.why, &b.name)));
    if tables.len() > MOST {
        let reason = format!("{} more tables or collections vanished or lost rows", tables.len() - MOST);
        tables.truncate(MOST);
        tables.push(Suspicion { why: Why::More, name: None, reason });
    }
    found.extend(tables);
    if let Some(most) = drift.unchanged_saves.filter(|most| unchanged >= *most) {
        let reason = format!("nothing has changed since the {most} saves before it, not a row");
        found.push(Suspicion { why: Why::Unchanged, name: None, reason });
    }
    found
}

/// The whole, against the median: what was counted, or the dump where one of them was not.
fn smaller(save: &Shape, earlier: &[Shape], drift: &Drift) -> Option<Suspicion> {
    let percent = drift.size_percent.unwrap_or(80);
    let counted = |shape: &Shape| shape.inventory.as_ref().map(|inventory| counted_bytes(inventory, drift));
    let all: Option<Vec<u64>> = earlier.iter().map(counted).collect();
    let (what, now, usual) = match (counted(save), all) {
        (Some(now), Some(all)) => ("rows", now, median(all)?),
        _ => ("the dump", save.raw_bytes, median(earlier.iter().map(|shape| shape.raw_bytes).collect())?),
    };
    has_fallen(now, usual, percent).then(|| Suspicion {
        why: Why::Smaller,
        name: None,
        reason: match what {
            "rows" => format!("all its rows are {now} bytes; usual are {usual}"),
            _ => format!("the dump is {now} bytes; usual are {usual}"),
        },
    })
}

fn counted_bytes(inventory: &Inventory, drift: &Drift) -> u64 {
    let ignored: u64 =
        inventory.entries.iter().filter(|entry| drift.is_ignored(entry)).map(|entry| entry.count.bytes).sum();
    inventory.bytes.saturating_sub(ignored)
}

type Key<'a> = (Kind, Option<&'a str>, &'a str);

/// Table by table. Of what one inventory does not list, as it has too much, nothing is said.
fn tables(save: &Shape, earlier: &[Shape], drift: &Drift) -> Vec<Suspicion> {
    let Some(now) = &save.inventory else { return Vec::new() };
    let lists: Vec<&Inventory> = earlier.iter().filter_map(|shape| shape.inventory.as_ref()).collect();
    let Some(latest) = lists.first() else { return Vec::new() };
    let percent = drift.rows_percent.unwrap_or(60);
    let mut rows: BTreeMap<Key<'_>, Vec<u64>> = BTreeMap::new();
    for entry in lists.iter().flat_map(|list| &list.entries) {
        rows.entry(entry.key()).or_default().push(entry.count.rows);
    }
    let there: BTreeSet<Key<'_>> = now.entries.iter().map(Entry::key).collect();
    let mut found = Vec::new();
    if now.rest.is_none() {
        for entry in latest.entries.iter().filter(|entry| !there.contains(&entry.key()) && !drift.is_ignored(entry)) {
            // All large objects are one entry, which is not there where there are none.
            let reason =
                format!("{} is not there any more; the save before has {} rows of it", name(entry), entry.count.rows);
            found.push(Suspicion { why: Why::Vanished, name: Some(name(entry)), reason });
        }
    }
    for entry in now.entries.iter().filter(|entry| !drift.is_ignored(entry)) {
        let Some(before) = rows.get(&entry.key()) else { continue };
        let least = before.iter().copied().min().unwrap_or_default();
        let Some(usual) = median(before.clone()) else { continue };
        let rows = entry.count.rows;
        let (why, reason) = if rows == 0 && least > 0 {
            (Why::Empty, format!("{} is empty; usual are {usual} rows", name(entry)))
        } else if rows < least && usual >= FEW_ROWS && has_fallen(rows, usual, percent) {
            (Why::FewerRows, format!("{} has {rows} rows; usual are {usual}", name(entry)))
        } else {
            continue;
        };
        found.push(Suspicion { why, name: Some(name(entry)), reason });
    }
    found
}

/// As a person writes it, and as a pattern is held against it.
fn name(entry: &Entry) -> String {
    match (entry.kind, &entry.schema) {
        (Kind::LargeObjects, _) => "large objects".to_owned(),
        (_, Some(schema)) => format!("{schema}.{}", entry.name),
        (_, None) => entry.name.clone(),
    }
}

/// Whether so many of a hundred are gone, or more.
fn has_fallen(now: u64, usual: u64, percent: u8) -> bool {
    let (now, usual) = (u128::from(now), u128::from(usual));
    usual > 0 && now < usual && (usual - now) * 100 >= usual * u128::from(percent)
}

/// Of an even number the lower of the two in the middle: rather one alarm less.
fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    all.get(all.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Count, Digest, Rest};

    fn shape(tables: &[(&str, u64)]) -> Shape {
        let entries = tables.iter().map(|(name, rows)| Entry {
            kind: Kind::Table,
            schema: Some("public".to_owned()),
            name: (*name).to_owned(),
            count: Count { rows: *rows, bytes: rows * 10, digest: Digest((*rows).into()) },
        });
        let inventory = Inventory::of(entries.collect(), None);
        Shape { raw_bytes: inventory.bytes + 100, inventory: Some(inventory) }
    }

    fn found(save: &[(&str, u64)], earlier: &[&[(&str, u64)]], drift: &Drift) -> Vec<(Why, Option<String>)> {
        let earlier: Vec<Shape> = earlier.iter().map(|tables| shape(tables)).collect();
        judge(&shape(save), &earlier, 0, drift).into_iter().map(|found| (found.why, found.name)).collect()
    }

    fn of(why: Why, name: &str) -> (Why, Option<String>) {
        (why, Some(format!("public.{name}")))
    }

    #[test]
    fn a_first_save_and_one_like_the_others_are_not_suspicious() {
        let drift = Drift::default();
        assert_eq!(found(&[], &[], &drift), []);
        assert_eq!(found(&[("a", 100)], &[&[("a", 100)]], &drift), []);
        // What is new or grows is welcome.
        assert_eq!(found(&[("a", 100_000), ("b", 1)], &[&[("a", 100)]], &drift), []);
    }

    #[test]
    fn what_vanishes_empties_or_shrinks_is_named() {
        let drift = Drift::default();
        let usual: &[(&str, u64)] = &[("a", 100), ("b", 1000), ("c", 5)];
        assert_eq!(found(&[("a", 100), ("b", 1000)], &[usual], &drift), [of(Why::Vanished, "c")]);
        assert_eq!(
            found(&[("a", 0), ("b", 1000), ("c", 0)], &[usual], &drift),
            [of(Why::Empty, "a"), of(Why::Empty, "c")]
        );
        assert_eq!(found(&[("a", 40), ("b", 1000), ("c", 1)], &[usual], &drift), [of(Why::FewerRows, "a")]);
        assert_eq!(found(&[("a", 41), ("b", 1000), ("c", 1)], &[usual], &drift), []);
        let strict = Drift { rows_percent: Some(100), size_percent: Some(50), ..Drift::default() };
        assert_eq!(found(&[("a", 1), ("b", 600), ("c", 1)], &[usual], &strict), []);
        assert_eq!(found(&[("a", 1), ("b", 500), ("c", 1)], &[usual], &strict), [(Why::Smaller, None)]);
        assert_eq!(
            found(&[("a", 20), ("b", 200), ("c", 1)], &[usual], &drift),
            [(Why::Smaller, None), of(Why::FewerRows, "a"), of(Why::FewerRows, "b")]
        );
        assert_eq!(found(&[], &[usual], &Drift { off: true, ..Drift::default() }), []);
    }

    #[test]
    fn usual_is_the_median_of_so_many_and_never_less_than_was_seen() {
        let drift = Drift::default();
        let of_rows = |rows: &[u64]| rows.iter().map(|rows| [("a", *rows), ("b", 100_000)]).collect::<Vec<_>>();
        let judge = |now: u64, rows: &[u64], drift: &Drift| {
            let earlier = of_rows(rows);
            let earlier: Vec<&[(&str, u64)]> = earlier.iter().map(<[_; 2]>::as_slice).collect();
            !found(&[("a", now), ("b", 100_000)], &earlier, drift).is_empty()
        };
        assert!(judge(30, &[100, 90, 5000, 80, 100], &drift));
        assert!(!judge(60, &[100, 90, 5000, 80, 100], &drift));
        // One of them had as few: that is how this table is.
        assert!(!judge(30, &[100, 90, 25, 80, 100], &drift));
        // What is further back is not asked.
        assert!(judge(30, &[100, 90, 100, 80, 100, 25], &drift));
        assert!(!judge(30, &[100, 90, 100, 80, 100, 25], &Drift { compare_with: Some(6), ..Drift::default() }));
        // A queue that is empty now and then.
        assert!(!judge(0, &[20, 0, 30, 20, 20], &drift));
        assert!(judge(0, &[20, 1, 30, 20, 20], &drift));
    }

    #[test]
    fn what_is_ignored_may_do_as_it_likes_and_counts_for_nothing() {
        let usual: &[(&str, u64)] = &[("bids", 100), ("log_2026", 100_000), ("log_2025", 10)];
        let ignore = |patterns: &[&str]| Drift {
            ignore: patterns.iter().map(|p| (*p).to_owned()).collect(),
            ..Drift::default()
        };
        assert_eq!(found(&[("bids", 100)], &[usual], &ignore(&["log_*"])), []);
        assert_eq!(found(&[("bids", 100)], &[usual], &ignore(&["public.log_202?"])), []);
        assert_eq!(
            found(&[("bids", 10)], &[usual], &ignore(&["public.log_*"])),
            [(Why::Smaller, None), of(Why::FewerRows, "bids")]
        );
        assert_eq!(found(&[("bids", 100)], &[usual], &ignore(&["log", "*6"])), [of(Why::Vanished, "log_2025")]);
    }

    #[test]
    fn an_inventory_that_does_not_list_everything_says_nothing_of_what_it_does_not_list() {
        let usual = shape(&[("a", 100), ("b", 100)]);
        let mut now = shape(&[("a", 100)]);
        let inventory = now.inventory.as_mut().unwrap();
        inventory.rest = Some(Rest { entries: 1, count: Count::default() });
        inventory.bytes = 2000;
        assert_eq!(judge(&now, std::slice::from_ref(&usual), 0, &Drift::default()), []);
        // What was not counted is known by the size of its dump.
        now.inventory = None;
        assert_eq!(judge(&now, std::slice::from_ref(&usual), 0, &Drift::default()), []);
        now.raw_bytes = 420;
        let found = judge(&now, &[usual], 0, &Drift::default());
        assert_eq!(found.iter().map(|found| found.why).collect::<Vec<_>>(), [Why::Smaller]);
        assert_eq!(found[0].reason, "the dump is 420 bytes; usual are 2100");
    }

    #[test]
    fn what_does_not_change_is_suspicious_only_where_somebody_said_so() {
        let (save, earlier) = (shape(&[("a", 1)]), [shape(&[("a", 1)])]);
        let drift = Drift { unchanged_saves: Some(3), ..Drift::default() };
        assert_eq!(judge(&save, &earlier, 300, &Drift::default()), []);
        assert_eq!(judge(&save, &earlier, 2, &drift), []);
        assert_eq!(judge(&save, &earlier, 3, &drift)[0].why, Why::Unchanged);
    }

    #[test]
    fn a_long_list_is_cut_and_says_so() {
        let names: Vec<String> = (0..30).map(|n| format!("t{n:02}")).collect();
        let usual: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 100)).chain([("big", 100_000)]).collect();
        let found = judge(&shape(&[("big", 100_000)]), &[shape(&usual)], 0, &Drift::default());
        assert_eq!(found.len(), MOST + 1);
        assert_eq!(found[MOST].reason, "10 more tables or collections vanished or lost rows");
    }

    #[test]
    fn bounds_are_kept() {
        for (drift, member) in [
            (Drift { rows_percent: Some(0), ..Drift::default() }, "rows_percent"),
            (Drift { size_percent: Some(101), ..Drift::default() }, "size_percent"),
            (Drift { compare_with: Some(21), ..Drift::default() }, "compare_with"),
            (Drift { unchanged_saves: Some(0), ..Drift::default() }, "unchanged_saves"),
            (Drift { ignore: vec![String::new()], ..Drift::default() }, "ignore"),
        ] {
            assert_eq!(drift.check().unwrap_err().member, member);
        }
        assert_eq!(Drift::default().check(), Ok(()));
    }
}
