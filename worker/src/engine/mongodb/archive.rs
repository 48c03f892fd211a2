//! The mongodump archive format, version 0.1, read and written: what `mongodump --archive` writes, `mongorestore --archive` takes.
//!
//! ```text
//! magic 6d e2 99 81
//! prelude:  header document, one metadata document for each namespace, terminator ff ff ff ff
//! blocks:   namespace header { db, collection, EOF: false, CRC: 0 }, documents, terminator
//! end of a namespace: header { db, collection, EOF: true, CRC: CRC-64 of its documents }, terminator
//! ```
//!
//! Blocks of several namespaces alternate. Every namespace of the prelude, empty collections and views too, is ended once:
//! what lacks an end was cut off. Documents pass as bytes and are never decoded.

mod error;
mod extjson;
#[cfg(test)]
mod fuzz;
mod metadata;
mod parser;
mod prelude;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{
    error::{ArchiveError, Fault},
    extjson::JsonError,
    metadata::Metadata,
    parser::Parser,
    prelude::{Header, Kind, Namespace, Prelude},
    reader::Reader,
    writer::{Framing, WriteError, check_document},
};

/// An archive's first bytes: `0x8199e26d`, low byte first.
pub const MAGIC: [u8; 4] = [0x6d, 0xe2, 0x99, 0x81];
/// The format that is written, and the only one there is.
pub const VERSION: &str = "0.1";
/// A namespace's data of a time series lie in the collection of this prefix and its name.
pub const BUCKETS: &str = "system.buckets.";
/// A server's own documents may be so much larger than the 16 MiB that users have.
pub const MAX_DOCUMENT: usize = 16 * 1024 * 1024 + 16 * 1024;

const TERMINATOR: [u8; 4] = [0xff; 4];
/// An empty document.
const MIN_DOCUMENT: usize = 5;
/// Names are at most 255 bytes; this is what a header may hold that a later tool adds to.
const MAX_HEADER: usize = 64 * 1024;
/// All metadata documents of a prelude together: it is kept in memory.
const MAX_PRELUDE: usize = 64 * 1024 * 1024;

/// What was found in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// One document of a namespace, by its index in the prelude: its bytes as they were, whose length is checked and no more.
    Document { namespace: usize, bytes: &'a [u8] },
    /// A namespace has ended, and its CRC was right.
    End { namespace: usize, counts: Counts },
}

/// How much of a namespace has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub documents: u64,
    pub bytes: u64,
}
