//! Why a stream ended before its time.

use std::io;

use super::CryptError;
use crate::store::StoreError;

/// Why a dump, restore, verify or read-back failed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The engine's output could not be read.
    #[error("reading the dump failed after {raw_bytes} bytes")]
    Source {
        raw_bytes: u64,
        #[source]
        source: io::Error,
    },
    /// The engine wrote nothing, or something that is no dump: the tool failed without saying so (guarantees A2).
    #[error("the dump tool wrote {found}: look at its error output and exit status")]
    BadFormat { found: String },
    /// Fewer copies than required are left.
    #[error("{good} of {required} required copies are left; the last one lost was in store {store}")]
    Copies {
        required: usize,
        good: usize,
        store: String,
        #[source]
        source: StoreError,
    },
    /// Fewer copies were given than are required: a fault of the caller.
    #[error("{required} copies are required and {given} stores were given")]
    TooFewCopies { required: usize, given: usize },
    /// The store failed while the object was read.
    #[error("reading the save failed")]
    Store(#[source] StoreError),
    /// The stored bytes are not those that were saved.
    #[error(
        "the stored save is damaged: {what} is {found}, recorded was {expected}: use another copy and verify this store"
    )]
    Corrupt { what: &'static str, expected: String, found: String },
    /// The restore tool stopped reading.
    #[error("the restore tool stopped taking bytes after {raw_bytes}: look at its error output and exit status")]
    Sink {
        raw_bytes: u64,
        #[source]
        source: io::Error,
    },
    /// zstd could not be set up or failed; it never fails over data.
    #[error("compressing failed")]
    Compress(#[source] io::Error),
    /// The copy cannot be encrypted or decrypted; damage in it is one of the reasons.
    #[error(transparent)]
    Crypt(#[from] CryptError),
    /// The record says that the copy is encrypted, and this worker's configuration says nothing of it.
    #[error("the copy is encrypted, and this worker knows of no encryption of its store")]
    NoIdentity,
    #[error("the stream was cancelled")]
    Cancelled,
    /// A stage panicked: a fault of ours.
    #[error("stage {stage} of the stream died: this is a bug")]
    StageDied { stage: &'static str },
}

impl StreamError {
    /// Whether another copy of the same save may do what this one did not.
    pub fn is_of_the_copy(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Store(_) | Self::Crypt(_) | Self::NoIdentity)
    }

    /// Whether another attempt over the same input must fail in the same way.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Copies { source, .. } | Self::Store(source) => source.is_permanent(),
            Self::Crypt(error) => error.is_permanent(),
            Self::Corrupt { .. } | Self::TooFewCopies { .. } | Self::NoIdentity => true,
            Self::Source { .. }
            | Self::BadFormat { .. }
            | Self::Sink { .. }
            | Self::Compress(_)
            | Self::Cancelled
            | Self::StageDied { .. } => false,
        }
    }

    /// A stable word for records, events and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source { .. } => "source_failed",
            Self::BadFormat { .. } => "empty_or_bad_format",
            Self::Copies { source, .. } | Self::Store(source) => source.code(),
            Self::TooFewCopies { .. } => "too_few_copies",
            Self::Corrupt { .. } => "object_corrupt",
            Self::Sink { .. } => "sink_failed",
            Self::Compress(_) => "compression_failed",
            Self::Crypt(error) => error.code(),
            Self::NoIdentity => "identity_missing",
            Self::Cancelled => "cancelled",
            Self::StageDied { .. } => "stage_died",
        }
    }
}
