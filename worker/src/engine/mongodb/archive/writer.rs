//! The framing of an archive that is written: which bytes stand between the documents. The documents themselves go by
//! without it, but for their sums.

use super::{MAX_DOCUMENT, MIN_DOCUMENT, Namespace, Prelude, TERMINATOR, prelude::BlockHeader};

/// Why something cannot be written into an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("{open} namespaces would be open at once, the archive's header says at most {most}")]
    TooManyOpen { open: usize, most: usize },
    #[error("namespace {0} goes on after its end")]
    AfterEnd(String),
    #[error("the archive's prelude announces no namespace number {0}")]
    Unknown(usize),
    #[error("{0} namespace(s) have no end")]
    Unfinished(usize),
    #[error("the server sent something of {0} bytes that is no document")]
    NoDocument(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due,
    Open,
    Ended,
}

/// Keeps the order of an archive: what must be written before documents of a namespace, and at its end.
#[derive(Debug)]
pub struct Framing {
    namespaces: Vec<(Namespace, State)>,
    current: Option<usize>,
    most: usize,
}

impl Framing {
    /// For an archive that begins with this prelude, [`Prelude::encode`]d.
    pub fn new(prelude: &Prelude) -> Self {
        let namespaces = prelude.namespaces.iter().map(|namespace| (namespace.clone(), State::Due)).collect();
        let most = usize::try_from(prelude.header.concurrent_collections).unwrap_or_default();
        Self { namespaces, current: None, most }
    }

    /// Appends what must stand before documents of this namespace: often nothing.
    pub fn before(&mut self, namespace: usize, out: &mut Vec<u8>) -> Result<(), WriteError> {
        if self.current == Some(namespace) {
            return Ok(());
        }
        self.open(namespace)?;
        self.terminate(out);
        let (name, _) = &self.namespaces[namespace];
        BlockHeader::write(&name.db, &name.data_collection(), None, out);
        self.current = Some(namespace);
        Ok(())
    }

    /// Appends the end of a namespace whose documents had this CRC-64; of one that had none too.
    pub fn end(&mut self, namespace: usize, crc: u64, out: &mut Vec<u8>) -> Result<(), WriteError> {
        // A restore creates what it sees begin: an empty collection, or a view, needs its empty block.
        if self.namespaces.get(namespace).is_some_and(|(_, state)| *state == State::Due) {
            self.before(namespace, out)?;
        }
        self.open(namespace)?;
        self.terminate(out);
        let (name, state) = &mut self.namespaces[namespace];
        BlockHeader::write(&name.db, &name.data_collection(), Some(crc), out);
        *state = State::Ended;
        out.extend_from_slice(&TERMINATOR);
        Ok(())
    }

    /// Whether everything was ended: only then is what was written an archive.
    pub fn finish(self) -> Result<(), WriteError> {
        match self.namespaces.iter().filter(|(_, state)| *state != State::Ended).count() {
            0 => Ok(()),
            unfinished => Err(WriteError::Unfinished(unfinished)),
        }
    }

    fn open(&mut self, namespace: usize) -> Result<(), WriteError> {
        let open = self.namespaces.iter().filter(|(_, state)| *state == State::Open).count();
        match self.namespaces.get_mut(namespace) {
            None => Err(WriteError::Unknown(namespace)),
            Some((name, State::Ended)) => Err(WriteError::AfterEnd(name.full_name())),
            Some((_, State::Open)) => Ok(()),
            Some((_, State::Due)) if open >= self.most => {
                Err(WriteError::TooManyOpen { open: open + 1, most: self.most })
            }
            Some((_, state)) => {
                *state = State::Open;
                Ok(())
            }
        }
    }

    fn terminate(&mut self, out: &mut Vec<u8>) {
        if self.current.take().is_some() {
            out.extend_from_slice(&TERMINATOR);
        }
    }
}

/// Whether these bytes may stand in an archive as one document: a reader finds the next by this one's length.
pub fn check_document(bytes: &[u8]) -> Result<(), WriteError> {
    let said = bytes.first_chunk().map(|head| u32::from_le_bytes(*head) as usize);
    let good =
        said == Some(bytes.len()) && (MIN_DOCUMENT..=MAX_DOCUMENT).contains(&bytes.len()) && bytes.last() == Some(&0);
    if good { Ok(()) } else { Err(WriteError::NoDocument(bytes.len())) }
}
