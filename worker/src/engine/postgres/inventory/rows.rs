//! Rows of `COPY` in text format, cut out of the pieces they come in and counted.

use std::io::BufRead as _;

use shared::inventory::Count;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// What ends the rows of a table, where an end is written.
const END: &[u8] = b"\\.";

/// The rows of one table. A row may come in any number of pieces: what is kept of it is the state of its digest.
#[derive(Debug, Default)]
pub(super) struct Rows {
    count: Count,
    begun: Option<Begun>,
    /// The end was read; only empty lines may follow.
    ended: bool,
    fault: bool,
}

/// A row, or a large object, whose end has not been seen yet.
#[derive(Default)]
pub(super) struct Begun {
    hash: Box<Xxh3>,
    bytes: u64,
    /// Its first bytes, to know the end by.
    head: [u8; END.len()],
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Rows {
    /// The next bytes, however they are cut.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.ended {
                self.fault |= bytes.iter().any(|byte| *byte != b'\n');
                return;
            }
            let before = bytes;
            // Reading from memory cannot fail, and this looks for the line end as fast as the machine can.
            let length = bytes.skip_until(b'\n').unwrap_or(before.len());
            let Some(piece) = before.get(..length) else { return };
            match piece.strip_suffix(b"\n") {
                Some(rest) => self.complete(rest),
                None => self.begin(piece),
            }
        }
    }

    /// What was counted, if the rows ended as `pg_dump` ends them.
    pub(super) fn counted(self) -> Option<Count> {
        (self.ended && !self.fault).then_some(self.count)
    }

    fn begin(&mut self, piece: &[u8]) {
        self.begun.get_or_insert_default().add(piece);
    }

    fn complete(&mut self, rest: &[u8]) {
        let Some(mut begun) = self.begun.take() else {
            match rest {
                END => self.ended = true,
                row => self.count.row(row.len() as u64, xxh3_128(row)),
            }
            return;
        };
        begun.add(rest);
        if begun.bytes == END.len() as u64 && begun.head == END {
            self.ended = true;
        } else {
            begun.end(&mut self.count);
        }
    }
}

impl Begun {
    /// A large object: its number goes into the digest, and is not counted.
    pub(super) fn object(oid: u32) -> Self {
        let mut begun = Self::default();
        begun.hash.update(&oid.to_be_bytes());
        begun
    }

    /// It is complete.
    pub(super) fn end(self, count: &mut Count) {
        count.row(self.bytes, self.hash.digest128());
    }

    pub(super) fn add(&mut self, piece: &[u8]) {
        let known = usize::try_from(self.bytes).unwrap_or(END.len()).min(END.len());
        for (to, from) in self.head[known..].iter_mut().zip(piece) {
            *to = *from;
        }
        self.bytes += piece.len() as u64;
        self.hash.update(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(bytes: &[u8], piece: usize) -> Option<Count> {
        let mut rows = Rows::default();
        bytes.chunks(piece).for_each(|piece| rows.feed(piece));
        rows.counted()
    }

    #[test]
    fn rows_are_counted_however_they_are_cut() {
        let long = "x".repeat(5000);
        let text = format!("1\t\\N\n\n\\.x\n{long}\nä\\nb\n\n\\.\n\n\n");
        let rows = ["1\t\\N", "", "\\.x", &long, "ä\\nb", ""];
        let mut expected = Count::default();
        for row in rows.iter().rev() {
            expected.row(row.len() as u64, xxh3_128(row.as_bytes()));
        }
        for piece in [1, 2, 3, 7, 1000, text.len()] {
            assert_eq!(counted(text.as_bytes(), piece), Some(expected), "in pieces of {piece}");
        }
    }

    #[test]
    fn an_end_must_be_there_and_be_the_end() {
        assert_eq!(counted(b"\\.\n\n\n", 100), Some(Count::default()));
        for bad in [&b""[..], b"1\n", b"1\n\\.", b"\\.\nINSERT", b"INSERT INTO t VALUES (1);\n"] {
            for piece in [1, 100] {
                assert_eq!(counted(bad, piece), None, "{}", bad.escape_ascii());
            }
        }
    }
}
