//! The inventory of a `MongoDB` dump (`shared::inventory`), counted while the archive passes, and the proof that it is one:
//! every length, every checksum and every end is looked at before anything is committed.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use shared::inventory::{Count, Entry, Inventory, Kind};
use xxhash_rust::xxh3::xxh3_128;

use super::archive::{Event, Namespace, Parser, Prelude};
use crate::stream::Tap;

/// Where a [`tap`] leaves what it has counted.
#[derive(Debug, Clone, Default)]
pub struct Counting(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    parser: Parser,
    counts: Vec<Count>,
    fault: Option<String>,
}

/// Counts what a dump holds. The result is there when the stream has ended.
pub fn tap() -> (Tap, Counting) {
    let counting = Counting::default();
    let counted = counting.clone();
    (Box::new(move |block: &bytes::Bytes| counted.feed(block)), counting)
}

impl Counting {
    /// The next bytes of the archive.
    pub fn feed(&self, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { parser, counts, fault } = &mut *state;
        if fault.is_some() {
            return;
        }
        let mut count = |prelude: &Prelude, event: Event<'_>| {
            counts.resize(prelude.namespaces.len(), Count::default());
            if let Event::Document { namespace, bytes } = event {
                counts[namespace].row(bytes.len() as u64, xxh3_128(bytes));
            }
        };
        if let Err(error) = parser.feed(bytes, &mut count) {
            *fault = Some(error.to_string());
        }
    }

    /// What is wrong with what has passed so far.
    pub fn broken(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fault.clone()
    }

    /// The versions of the tool and of the server, and the databases that the archive holds; none before its prelude has
    /// passed.
    pub fn origin(&self) -> Option<(String, String, Vec<String>)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Prelude { header, namespaces } = state.parser.prelude()?;
        let databases: BTreeSet<&str> =
            namespaces.iter().map(|one| one.db.as_str()).filter(|db| !db.is_empty()).collect();
        let databases = databases.into_iter().map(str::to_owned).collect();
        Some((header.tool_version.clone(), header.server_version.clone(), databases))
    }

    /// What is wrong with an archive that ends here.
    pub fn fault(&self) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.fault.clone().or_else(|| state.parser.finish().err().map(|error| error.to_string()))
    }

    /// What was counted: collections and time series, empty ones too; views have no documents of their own.
    pub fn result(&self) -> Result<Inventory, String> {
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let namespaces = state.parser.prelude().map(|prelude| prelude.namespaces.as_slice()).unwrap_or_default();
        let entry = |(at, namespace): (usize, &Namespace)| {
            let count = state.counts.get(at).copied().unwrap_or_default();
            let is_view = namespace.kind == super::archive::Kind::View;
            let entry = Entry { kind: Kind::Collection, schema: None, name: namespace.collection.clone(), count };
            (!is_view).then_some(entry)
        };
        Ok(Inventory::of(namespaces.iter().enumerate().filter_map(entry).collect(), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUCTION: &[u8] = include_bytes!("archive/fixtures/auction.archive");

    #[test]
    fn an_archive_is_counted_and_a_damaged_one_is_not() {
        let counting = Counting::default();
        AUCTION.chunks(10_000).for_each(|piece| counting.feed(piece));
        let inventory = counting.result().unwrap();
        assert_eq!((inventory.rows, inventory.entries.len()), (2009, 6));
        let types = inventory.entries.iter().find(|entry| entry.name == "types").unwrap();
        assert_eq!((types.count.rows, types.count.bytes), (5, 700));

        let cut = Counting::default();
        cut.feed(&AUCTION[..AUCTION.len() - 10]);
        assert!(cut.fault().is_some() && cut.result().is_err());

        let mut flipped = AUCTION.to_vec();
        flipped[700_000] ^= 1;
        let counting = Counting::default();
        counting.feed(&flipped);
        assert!(counting.fault().unwrap().contains("byte"));
    }
}
