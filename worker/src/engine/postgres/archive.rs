//! Whether a custom-format archive is whole: its table of contents says which entries have data, and each of them must
//! follow, ended by its own end mark. A dump that was cut off is found out even where its tool said that all went well.
//!
//! The format is that of `pg_backup_archiver.c` and `pg_backup_custom.c`, versions 1.12 (`PostgreSQL` 10) to 1.16 (18),
//! as `--compress=0` writes it to a pipe: integers are a sign byte and `int_size` bytes, low byte first; texts are their
//! length (negative: none) and their bytes. Whoever wants more than that it is whole is an [`Observer`].

pub(crate) mod outline;
pub(crate) mod toc;
mod whole;

use std::{collections::HashSet, fmt, ops::Range};

pub(crate) use self::whole::Whole;

const MAGIC: &[u8] = b"PGDMP";
/// The first version with a table access method, with a compression algorithm, with a relation kind.
const TABLE_AM: u32 = 0x01_0e;
const ALGORITHM: u32 = 0x01_0f;
const RELKIND: u32 = 0x01_10;
/// Block types of the data section: rows of a table; large objects.
pub(super) const DATA: u8 = 1;
pub(super) const BLOBS: u8 = 3;

/// Is told what an archive holds, in its order, while it is read. What it does not ask for is skipped.
pub(crate) trait Observer: fmt::Debug {
    /// A piece of the n-th text of the head: the database, the server's version, the tool's version.
    fn head(&mut self, _n: u8, _piece: &[u8]) {}
    /// An entry of the table of contents begins.
    fn begin(&mut self, _id: i64) {}
    /// The entry has a block of data.
    fn had_dumper(&mut self) {}
    /// A piece of a text, be it a field or a dependency.
    fn text(&mut self, _piece: &[u8]) {}
    /// The text of the n-th field is complete.
    fn field(&mut self, _n: u8) {}
    /// A field that is a number.
    fn number(&mut self, _n: u8, _value: i64) {}
    /// Where the statement stands that drops the entry, its length before it.
    fn drop_at(&mut self, _place: Range<u64>) {}
    /// The text of a dependency is complete.
    fn dependency(&mut self) {}
    /// The entry is complete; of the last one, how many bytes were read.
    fn entry(&mut self, _ended: Option<u64>) {}
    /// The data of an entry begin, which are rows or large objects.
    fn block(&mut self, _kind: u8, _id: i64) {}
    /// A large object begins.
    fn large_object(&mut self, _oid: i64) {}
    /// A piece of the rows, or of a large object.
    fn data(&mut self, _piece: &[u8]) {}
    /// The large object is complete.
    fn large_object_ended(&mut self) {}
    /// The data of the entry are complete; how many bytes were read.
    fn block_ended(&mut self, _id: i64, _at: u64) {}
}

/// Nobody wants to know.
impl Observer for () {}

const COMPRESSED: &str = "its archive is compressed, which was not asked for";

/// What is read next. Each is as many bytes as `Archive::need` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Head,
    /// An integer of the given meaning.
    Int(Int),
    /// One byte: the algorithm of compression.
    Algorithm,
    /// A place in the file, unknown in a pipe: a flag and `offset_size` bytes.
    Offset,
    /// One byte: the type of a data block; where an archive may end.
    Block,
    /// Bytes that say nothing here.
    Skip(u64, Next),
}

/// What an integer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Int {
    /// Compression level, and date: so many more.
    Preamble(u8),
    /// Length of one of the three texts after the preamble.
    HeadText(u8),
    Entries,
    DumpId,
    HadDumper,
    /// Length of the n-th text of an entry, or its section or relation kind, which are plain integers.
    Field(u8),
    Dependency,
    BlockId(u8),
    LargeObject,
    Chunk(u8),
}

/// What follows skipped bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    HeadText(u8),
    Field(u8),
    Dependency,
    Chunk(u8),
}

/// Reads an archive piece by piece.
#[derive(Debug)]
pub(crate) struct Archive<O = ()> {
    step: Step,
    partial: Vec<u8>,
    version: u32,
    int_size: usize,
    offset_size: usize,
    entries: i64,
    id: i64,
    /// Entries whose data have not been seen yet.
    missing: HashSet<i64>,
    fault: Option<&'static str>,
    unknown: bool,
    /// Whether data that are compressed are read as they are; else they are a fault.
    takes_compressed: bool,
    is_compressed: bool,
    /// Bytes read so far.
    at: u64,
    observer: O,
}

impl<O: Default> Default for Archive<O> {
    fn default() -> Self {
        Self {
            step: Step::Head,
            partial: Vec::new(),
            version: 0,
            int_size: 4,
            offset_size: 8,
            entries: 0,
            id: 0,
            missing: HashSet::new(),
            fault: None,
            unknown: false,
            takes_compressed: false,
            is_compressed: false,
            at: 0,
            observer: O::default(),
        }
    }
}

impl<O: Observer> Archive<O> {
    /// The next bytes, however they are cut.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while self.fault.is_none() && !self.unknown && !bytes.is_empty() {
            if let Step::Skip(left, next) = self.step {
                let skipped = left.min(bytes.len() as u64);
                let (text, rest) = bytes.split_at(usize::try_from(skipped).unwrap_or(bytes.len()));
                match next {
                    Next::Field(_) | Next::Dependency => self.observer.text(text),
                    Next::Chunk(_) => self.observer.data(text),
                    Next::HeadText(n) => self.observer.head(n, text),
                }
                bytes = rest;
                self.at += skipped;
                self.step = if skipped == left { self.after(next) } else { Step::Skip(left - skipped, next) };
                continue;
            }
            let need = self.need();
            if self.partial.is_empty()
                && let Some((piece, rest)) = bytes.split_at_checked(need)
            {
                bytes = rest;
                self.at += need as u64;
                self.take(piece);
                continue;
            }
            let (piece, rest) = bytes.split_at(bytes.len().min(need - self.partial.len()));
            self.partial.extend_from_slice(piece);
            bytes = rest;
            self.at += piece.len() as u64;
            if self.partial.len() == need {
                let whole = std::mem::take(&mut self.partial);
                self.take(&whole);
            }
        }
    }

    /// What is wrong with an archive that ends here.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.unknown {
            return None;
        }
        match (self.fault, self.step, self.missing.len()) {
            (Some(fault), ..) => Some(fault.to_owned()),
            (None, Step::Block, 0) if self.partial.is_empty() => None,
            (None, Step::Block, n) if self.partial.is_empty() => {
                Some(format!("it ends before the data of {n} of its tables or large objects"))
            }
            _ => Some("it ends in the middle".to_owned()),
        }
    }

    /// Major and minor number of a format that cannot be read here.
    pub(super) fn unknown_version(&self) -> Option<(u32, u32)> {
        self.unknown.then_some((self.version >> 8, self.version & 0xff))
    }

    pub(super) fn observer(&self) -> &O {
        &self.observer
    }

    pub(super) fn into_observer(self) -> O {
        self.observer
    }

    fn need(&self) -> usize {
        match self.step {
            Step::Head => MAGIC.len() + 6,
            Step::Int(_) => 1 + self.int_size,
            Step::Offset => 1 + self.offset_size,
            Step::Algorithm | Step::Block | Step::Skip(..) => 1,
        }
    }

    fn take(&mut self, piece: &[u8]) {
        self.step = match (self.step, piece) {
            (Step::Head, [head @ .., major, minor, _, int_size, offset_size, format]) => {
                self.version = u32::from(*major) << 8 | u32::from(*minor);
                self.int_size = usize::from(*int_size);
                self.offset_size = usize::from(*offset_size);
                if head != MAGIC || *format != 1 || !(1..=8).contains(int_size) || !(1..=8).contains(offset_size) {
                    self.fault = Some("what it wrote does not begin as a dump does");
                }
                // A tool newer than this code may write what it does not know: that is no reason to have no backup.
                self.unknown = !(0x01_0c..=RELKIND).contains(&self.version);
                if self.version >= ALGORITHM { Step::Algorithm } else { Step::Int(Int::Preamble(8)) }
            }
            (Step::Algorithm, [0]) => Step::Int(Int::Preamble(7)),
            (Step::Algorithm, _) => self.compressed(Step::Int(Int::Preamble(7))),
            (Step::Int(meaning), _) => self.int(meaning, integer(piece)),
            (Step::Offset, _) => {
                self.entries -= 1;
                let ended = self.entries <= 0;
                self.observer.entry(ended.then_some(self.at));
                if ended { Step::Block } else { Step::Int(Int::DumpId) }
            }
            (Step::Block, [kind @ (DATA | BLOBS)]) => Step::Int(Int::BlockId(*kind)),
            _ => self.broken("its archive holds something that no archive holds"),
        };
    }

    fn int(&mut self, meaning: Int, value: i64) -> Step {
        match meaning {
            // Before there was an algorithm to name, the level told.
            Int::Preamble(8) if value != 0 => self.compressed(Step::Int(Int::Preamble(7))),
            Int::Preamble(left) if left > 1 => Step::Int(Int::Preamble(left - 1)),
            Int::Preamble(_) => Step::Int(Int::HeadText(1)),
            Int::HeadText(n) => self.skip(value, Next::HeadText(n)),
            Int::Entries => {
                self.entries = value;
                if value > 0 { Step::Int(Int::DumpId) } else { Step::Block }
            }
            Int::DumpId => {
                self.id = value;
                self.observer.begin(value);
                Step::Int(Int::HadDumper)
            }
            Int::HadDumper => {
                if value != 0 {
                    self.missing.insert(self.id);
                    self.observer.had_dumper();
                }
                Step::Int(Int::Field(0))
            }
            Int::Field(n @ (SECTION | KIND)) => {
                self.observer.number(n, value);
                self.after(Next::Field(n))
            }
            Int::Field(n) => {
                if n == DROP {
                    let start = self.at - (1 + self.int_size as u64);
                    self.observer.drop_at(start..self.at.saturating_add(u64::try_from(value).unwrap_or(0)));
                }
                self.skip(value, Next::Field(n))
            }
            // Dependencies end with a text that is none.
            Int::Dependency if value < 0 => Step::Offset,
            Int::Dependency => self.skip(value, Next::Dependency),
            Int::BlockId(kind) => {
                if !self.missing.remove(&value) {
                    return self.broken("its archive holds data that its table of contents does not announce");
                }
                self.id = value;
                self.observer.block(kind, value);
                Step::Int(if kind == BLOBS { Int::LargeObject } else { Int::Chunk(DATA) })
            }
            Int::LargeObject if value == 0 => self.block_ended(),
            Int::LargeObject => {
                self.observer.large_object(value);
                Step::Int(Int::Chunk(BLOBS))
            }
            Int::Chunk(kind) if value == 0 => {
                if kind == BLOBS {
                    self.observer.large_object_ended();
                    Step::Int(Int::LargeObject)
                } else {
                    self.block_ended()
                }
            }
            Int::Chunk(_) if value < 0 => self.broken("its archive holds a block of negative length"),
            Int::Chunk(kind) => self.skip(value, Next::Chunk(kind)),
        }
    }

    fn block_ended(&mut self) -> Step {
        self.observer.block_ended(self.id, self.at);
        Step::Block
    }

    fn skip(&mut self, length: i64, next: Next) -> Step {
        match u64::try_from(length) {
            Ok(length @ 1..) => Step::Skip(length, next),
            _ => self.after(next),
        }
    }

    fn after(&mut self, next: Next) -> Step {
        match next {
            Next::Field(n) if n != SECTION && n != KIND => self.observer.field(n),
            Next::Dependency => self.observer.dependency(),
            _ => {}
        }
        Step::Int(match next {
            // Database, server version, tool version.
            Next::HeadText(3) => Int::Entries,
            Next::HeadText(n) => Int::HeadText(n + 1),
            Next::Field(TABLESPACE) if self.version < TABLE_AM => Int::Field(OWNER),
            Next::Field(TABLE_AM_NAME) if self.version < RELKIND => Int::Field(OWNER),
            Next::Field(WITH_OIDS) | Next::Dependency => Int::Dependency,
            Next::Field(n) => Int::Field(n + 1),
            Next::Chunk(kind) => Int::Chunk(kind),
        })
    }

    fn compressed(&mut self, next: Step) -> Step {
        self.is_compressed = true;
        if self.takes_compressed { next } else { self.broken(COMPRESSED) }
    }

    fn broken(&mut self, fault: &'static str) -> Step {
        self.fault = Some(fault);
        self.step
    }
}

/// The fields of an entry in order: table oid, oid, tag, description, section, definition, drop and copy statements,
/// schema, tablespace, access method, relation kind, owner, with oids.
const CATALOG: u8 = 0;
const OID: u8 = 1;
pub(super) const TAG: u8 = 2;
pub(super) const DESCRIPTION: u8 = 3;
const SECTION: u8 = 4;
pub(super) const DEFINITION: u8 = 5;
const DROP: u8 = 6;
const COPY: u8 = 7;
pub(super) const SCHEMA: u8 = 8;
const TABLESPACE: u8 = 9;
const TABLE_AM_NAME: u8 = 10;
const KIND: u8 = 11;
const OWNER: u8 = 12;
const WITH_OIDS: u8 = 13;

fn integer(piece: &[u8]) -> i64 {
    let Some((sign, digits)) = piece.split_first() else { return 0 };
    let value = digits.iter().rev().fold(0_i64, |value, digit| value.wrapping_shl(8) | i64::from(*digit));
    if *sign == 0 { value } else { value.wrapping_neg() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by real tools of three versions; tables with rows, an empty one, large objects.
    const REAL: [(&str, &[u8]); 3] = [
        ("15", include_bytes!("archive/15.dump")),
        ("16", include_bytes!("archive/16.dump")),
        ("18", include_bytes!("archive/18.dump")),
    ];

    fn read(bytes: &[u8], piece: usize) -> Option<String> {
        let mut archive = <Archive>::default();
        bytes.chunks(piece).for_each(|piece| archive.feed(piece));
        archive.fault()
    }

    #[test]
    fn real_archives_are_whole_however_they_are_cut() {
        for (version, bytes) in REAL {
            for piece in [1, 2, 3, 7, 64, 1000, bytes.len()] {
                assert_eq!(read(bytes, piece), None, "version {version} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn every_truncation_is_found() {
        for (version, bytes) in REAL {
            for end in 0..bytes.len() {
                assert!(read(&bytes[..end], 4096).is_some(), "version {version} cut at {end} of {}", bytes.len());
            }
        }
    }

    #[test]
    fn what_is_added_is_found() {
        for (version, bytes) in REAL {
            assert!(read(&[bytes, b"x"].concat(), 4096).is_some(), "version {version}");
            assert!(read(&[bytes, bytes].concat(), 4096).is_some(), "version {version}");
        }
    }

    #[test]
    fn no_input_makes_it_panic_or_run_away() {
        // Every byte of the head and of the first entries, set to what integers break on.
        for (_, bytes) in REAL {
            for at in 0..bytes.len().min(2000) {
                for value in [0, 1, 0x7f, 0x80, 0xff] {
                    let mut bytes = bytes.to_vec();
                    bytes[at] = value;
                    read(&bytes, 512);
                }
            }
        }
    }
}
