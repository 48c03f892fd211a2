//! Why an archive was refused, and at which byte.

use std::io;

/// What is wrong with an archive; the offset is that of the item that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("the archive is damaged at byte {offset}: {fault}")]
    Damaged { offset: u64, fault: Fault },
    #[error("reading the archive failed at byte {offset}")]
    Read {
        offset: u64,
        #[source]
        source: io::Error,
    },
}

impl ArchiveError {
    /// Where in the archive.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Damaged { offset, .. } | Self::Read { offset, .. } => *offset,
        }
    }

    /// What is wrong with the bytes; None where they could not be read.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Damaged { fault, .. } => Some(fault),
            Self::Read { .. } => None,
        }
    }

    /// The same bytes are damaged in the same way the next time; only reading may go better.
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

/// What cannot be in an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it does not begin as a mongodump archive does")]
    Magic,
    #[error("{found} is neither the length of a document ({} to {max} bytes) nor a terminator", super::MIN_DOCUMENT)]
    Length { found: u32, max: usize },
    #[error("a document of {length} bytes does not end with a zero byte")]
    NoZero { length: usize },
    #[error("{what} is not one: {problem}")]
    Header { what: &'static str, problem: String },
    #[error("its format is version {found:?}, this reader knows {:?}", super::VERSION)]
    Version { found: String },
    #[error("its prelude is larger than {} bytes", super::MAX_PRELUDE)]
    PreludeTooLarge,
    #[error("namespace {0} is announced twice")]
    Twice(String),
    #[error("namespace {0} was not announced in the prelude")]
    Unknown(String),
    #[error("namespace {0} goes on after its end")]
    AfterEnd(String),
    #[error("a terminator stands where a namespace header is due")]
    Headerless,
    #[error("the checksum of namespace {namespace} is {computed:016x}, recorded was {recorded:016x}")]
    Crc { namespace: String, computed: u64, recorded: u64 },
    #[error("bytes follow the end of its last namespace")]
    Trailing,
    #[error("it ends in the middle of {0}")]
    Truncated(&'static str),
    #[error("it ends before the end of {count} namespace(s), {first} among them")]
    Unfinished { count: usize, first: String },
}
