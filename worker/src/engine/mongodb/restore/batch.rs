//! An `insert` command that grows by documents as they came: no document is decoded, none is copied twice.

use mongodb::bson::{RawBsonRef, RawDocument, RawDocumentBuf, Timestamp, cstr, rawdoc};

use super::{fault, tally::Tally};
use crate::engine::EngineError;

/// What the driver and the server take at once, at most.
pub(super) const MAX_DOCUMENTS: usize = 1000;
/// So much is worth a round trip, and several of them fit a worker's memory.
pub(super) const FULL_BYTES: usize = 2 << 20;

/// What an `insert` says of its documents.
#[derive(Debug, Clone, Default)]
pub(super) struct Says {
    /// They are buckets of that time series.
    pub(super) series: Option<String>,
    /// The server can be told to leave timestamps of nought alone; it is where there is one, as servers that are not MongoDB
    /// may claim the version and refuse the words.
    pub(super) empty_timestamps: bool,
}

/// Documents of one collection on their way.
#[derive(Debug)]
pub(super) struct Batch {
    /// The collection, by its place among those that are loaded.
    pub(super) collection: usize,
    says: Says,
    has_empty_timestamps: bool,
    command: Vec<u8>,
    /// Where the array of documents begins in it.
    array_at: usize,
    tallies: Vec<Tally>,
}

/// An `insert` that is complete.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) collection: usize,
    /// The time series whose buckets they are.
    pub(super) series: Option<String>,
    pub(super) command: RawDocumentBuf,
    /// Of each document, in order.
    pub(super) tallies: Vec<Tally>,
}

impl Batch {
    /// An empty one, for a collection of this name.
    pub(super) fn new(collection: usize, name: &str, says: Says) -> Self {
        let mut head = rawdoc! {
            "insert": name,
            // So that one document that came twice does not keep those behind it from being written.
            "ordered": false,
            "writeConcern": { "w": "majority" },
        };
        if says.series.is_none() {
            // The documents were there: what a validator has to say of them comes too late. That of buckets is the server's
            // own, and stays.
            head.append(cstr!("bypassDocumentValidation"), true);
        }
        let mut command = head.into_bytes();
        command.pop();
        command.extend_from_slice(b"\x04documents\0");
        let array_at = command.len();
        command.extend_from_slice(&[0; 4]);
        Self { collection, says, has_empty_timestamps: false, command, array_at, tallies: Vec::new() }
    }

    /// Adds a document. What it comes to.
    pub(super) fn push(&mut self, document: &[u8]) -> Tally {
        let tally = Tally::of(document);
        self.command.push(0x03);
        self.command.extend_from_slice(self.tallies.len().to_string().as_bytes());
        self.command.push(0);
        self.command.extend_from_slice(document);
        self.tallies.push(tally);
        self.has_empty_timestamps |= self.says.empty_timestamps && has_empty_timestamp(document);
        tally
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.command.len()
    }

    /// Whether it should go before a document of so many bytes comes to it: the largest documents go alone.
    pub(super) fn is_full_before(&self, more: usize) -> bool {
        !self.tallies.is_empty() && (self.tallies.len() >= MAX_DOCUMENTS || self.len() + more > FULL_BYTES)
    }

    /// The command.
    pub(super) fn finish(self) -> Result<Ready, EngineError> {
        let Self { collection, says: Says { series, .. }, has_empty_timestamps, mut command, array_at, tallies } = self;
        command.push(0);
        let array = length(command.len() - array_at);
        command[array_at..array_at + 4].copy_from_slice(&array);
        if has_empty_timestamps {
            command.extend_from_slice(b"\x08bypassEmptyTsReplacement\0\x01");
        }
        command.push(0);
        let whole = length(command.len());
        command[..4].copy_from_slice(&whole);
        let command = RawDocumentBuf::from_bytes(command).map_err(|error| fault::internal("a batch", error))?;
        Ok(Ready { collection, series, command, tallies })
    }
}

/// Whether a timestamp of nought stands at the document's top: in the place of those the server puts its own time.
fn has_empty_timestamp(document: &[u8]) -> bool {
    let nought = Timestamp { time: 0, increment: 0 };
    RawDocument::from_bytes(document).is_ok_and(|document| {
        document.iter().any(|field| field.is_ok_and(|(_, value)| value == RawBsonRef::Timestamp(nought)))
    })
}

/// A batch is a few MiB, or one document of 16.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{Document, doc};

    use super::*;

    #[test]
    fn a_batch_is_the_command_that_the_driver_would_make() {
        let documents: Vec<Document> = (0..12).map(|n| doc! { "_id": n, "ключ": "значение", "a": [n] }).collect();
        let mut batch = Batch::new(3, "__hf_x", Says::default());
        let mut sum = Tally::default();
        for document in &documents {
            sum.add(batch.push(&document.to_vec().unwrap()));
        }
        let ready = batch.finish().unwrap();
        let command = Document::from_reader(ready.command.as_bytes()).unwrap();
        assert_eq!(
            command,
            doc! {
                "insert": "__hf_x", "ordered": false, "writeConcern": { "w": "majority" },
                "bypassDocumentValidation": true, "documents": documents,
            }
        );
        assert_eq!((ready.collection, ready.tallies.len(), sum.documents), (3, 12, 12));
    }

    #[test]
    fn buckets_are_validated_by_their_server_and_empty_timestamps_left_alone_where_it_can_be_told() {
        let says = Says { series: Some("readings".to_owned()), empty_timestamps: true };
        let nought = Timestamp { time: 0, increment: 0 };
        let command = |says: &Says, document: &Document| {
            let mut batch = Batch::new(0, "system.buckets.readings", says.clone());
            batch.push(&document.to_vec().unwrap());
            Document::from_reader(batch.finish().unwrap().command.as_bytes()).unwrap()
        };
        let document = doc! { "_id": 1, "at": nought };
        assert_eq!(
            command(&says, &document),
            doc! {
                "insert": "system.buckets.readings", "ordered": false, "writeConcern": { "w": "majority" },
                "documents": [&document], "bypassEmptyTsReplacement": true,
            }
        );
        let later = Timestamp { time: 0, increment: 1 };
        for other in [doc! { "_id": 1, "at": later }, doc! { "_id": 1, "deep": { "at": nought } }] {
            assert!(!command(&says, &other).contains_key("bypassEmptyTsReplacement"), "{other}");
        }
        let cannot = Says { empty_timestamps: false, ..says.clone() };
        assert!(!command(&cannot, &document).contains_key("bypassEmptyTsReplacement"));
        let ready = Batch::new(0, "system.buckets.readings", says).finish().unwrap();
        assert_eq!(ready.series.as_deref(), Some("readings"));
    }

    #[test]
    fn it_is_full_by_number_or_by_bytes_but_never_empty() {
        let mut batch = Batch::new(0, "a", Says::default());
        assert!(!batch.is_full_before(16 << 20));
        let small = doc! { "_id": 1 }.to_vec().unwrap();
        for _ in 0..MAX_DOCUMENTS - 1 {
            batch.push(&small);
        }
        assert!(!batch.is_full_before(small.len()));
        assert!(batch.is_full_before(FULL_BYTES));
        batch.push(&small);
        assert!(batch.is_full_before(small.len()));
    }
}
