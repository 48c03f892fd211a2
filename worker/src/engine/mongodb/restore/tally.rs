//! What a collection holds, in three numbers that do not depend on the order of its documents.

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

/// Documents, their bytes, and the sum of their XXH3-128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub documents: u64,
    pub bytes: u64,
    #[serde(skip)]
    pub digest: u128,
}

impl Tally {
    /// One document.
    pub fn of(document: &[u8]) -> Self {
        Self { documents: 1, bytes: document.len() as u64, digest: xxh3_128(document) }
    }

    /// These as well.
    pub fn add(&mut self, other: Self) {
        self.documents = self.documents.wrapping_add(other.documents);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.digest = self.digest.wrapping_add(other.digest);
    }

    /// Without these, which it holds.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self {
            documents: self.documents.wrapping_sub(other.documents),
            bytes: self.bytes.wrapping_sub(other.bytes),
            digest: self.digest.wrapping_sub(other.digest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_no_matter_and_what_is_taken_away_is_gone() {
        let (a, b) = (Tally::of(b"one"), Tally::of(b"two"));
        let (mut first, mut turned) = (a, b);
        first.add(b);
        turned.add(a);
        assert_eq!(first, turned);
        assert_eq!(first.without(b), a);
        assert_ne!(Tally::of(b"one"), Tally::of(b"0ne"));
    }
}
