//! The reader's core, without any reading: bytes in, however they are cut, events out. Memory is bounded by one document
//! and the prelude, whatever lengths the bytes claim.

use std::collections::HashMap;

use crc64fast::Digest;

use super::{
    ArchiveError, Counts, Event, Fault, Header, Kind, MAGIC, MAX_DOCUMENT, MAX_HEADER, MAX_PRELUDE, MIN_DOCUMENT,
    Namespace, Prelude, TERMINATOR, prelude::BlockHeader,
};

/// Where in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Magic,
    Header,
    Namespaces,
    /// Before the header of a block; where an archive may end.
    Between,
    Body(usize),
    /// After the header that ends a namespace: only the terminator may follow.
    Ended(usize),
}

/// What has become of a namespace.
#[derive(Clone, Default)]
struct Track {
    crc: Digest,
    counts: Counts,
    closed: bool,
}

/// A piece of input.
enum Item {
    Terminator,
    /// So many bytes, all of them in the input.
    Inline(usize),
    /// Gathered in `partial`.
    Kept,
}

/// What [`Parser::advance`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The input is used up.
    More,
    /// The prelude is complete.
    Prelude,
    /// A document: the last so many bytes of what was taken from the input, or, with None, [`Parser::kept`].
    Document(usize, Option<usize>),
    End(usize, Counts),
}

/// Reads an archive piece by piece.
pub struct Parser {
    state: State,
    partial: Vec<u8>,
    /// `partial` was handed out and is over.
    used: bool,
    /// Bytes taken.
    at: u64,
    /// Where the item begins that is read.
    item: u64,
    prelude: Prelude,
    prelude_bytes: usize,
    names: HashMap<(String, String), usize>,
    tracks: Vec<Track>,
    open: usize,
}

impl std::fmt::Debug for Parser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parser").field("state", &self.state).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Default for Parser {
    fn default() -> Self {
        let header = Header { concurrent_collections: 0, server_version: String::new(), tool_version: String::new() };
        Self {
            state: State::Magic,
            partial: Vec::new(),
            used: false,
            at: 0,
            item: 0,
            prelude: Prelude { header, namespaces: Vec::new() },
            prelude_bytes: 0,
            names: HashMap::new(),
            tracks: Vec::new(),
            open: 0,
        }
    }
}

impl Parser {
    /// The next bytes; `on` sees what they complete. After an error nothing more may be fed.
    pub fn feed(&mut self, mut bytes: &[u8], on: &mut dyn FnMut(&Prelude, Event<'_>)) -> Result<(), ArchiveError> {
        loop {
            let before = bytes;
            match self.advance(&mut bytes)? {
                Found::More => return Ok(()),
                Found::Prelude => {}
                Found::Document(namespace, inline) => {
                    let taken = before.len() - bytes.len();
                    let document = inline.map_or(self.kept(), |length| &before[taken - length..taken]);
                    on(&self.prelude, Event::Document { namespace, bytes: document });
                }
                Found::End(namespace, counts) => on(&self.prelude, Event::End { namespace, counts }),
            }
        }
    }

    /// Whether an archive may end here.
    pub fn finish(&self) -> Result<(), ArchiveError> {
        let inside = !self.partial.is_empty() && !self.used;
        let fault = match self.state {
            State::Magic if self.at == 0 => Fault::Truncated("nothing: it is empty"),
            State::Magic | State::Header | State::Namespaces => Fault::Truncated("its prelude"),
            State::Body(_) | State::Ended(_) => Fault::Truncated("the data of a namespace"),
            State::Between if inside => Fault::Truncated("the header of a namespace"),
            State::Between if self.open == 0 => return Ok(()),
            State::Between => {
                let first = self.tracks.iter().position(|track| !track.closed).unwrap_or_default();
                Fault::Unfinished { count: self.open, first: self.name(first) }
            }
        };
        Err(ArchiveError::Damaged { offset: self.at, fault })
    }

    /// The beginning, once it is complete.
    pub fn prelude(&self) -> Option<&Prelude> {
        (!matches!(self.state, State::Magic | State::Header | State::Namespaces)).then_some(&self.prelude)
    }

    /// Bytes taken so far.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// Bytes of memory this holds for documents, at the peak: its bound is [`MAX_DOCUMENT`].
    pub fn capacity(&self) -> usize {
        self.partial.capacity()
    }

    pub(super) fn whole_prelude(&self) -> &Prelude {
        &self.prelude
    }

    /// The document that did not lie in one piece.
    pub(super) fn kept(&self) -> &[u8] {
        &self.partial
    }

    /// Takes bytes until something is found or none is left.
    pub(super) fn advance(&mut self, input: &mut &[u8]) -> Result<Found, ArchiveError> {
        loop {
            if self.state == State::Magic {
                if !self.magic(input)? {
                    return Ok(Found::More);
                }
                continue;
            }
            let before = *input;
            let Some(item) = self.item(input)? else { return Ok(Found::More) };
            let kept = std::mem::take(&mut self.partial);
            let (bytes, inline) = match item {
                Item::Terminator => (None, None),
                Item::Inline(length) => (Some(&before[..length]), Some(length)),
                Item::Kept => (Some(kept.as_slice()), None),
            };
            let found = self.take(bytes, inline);
            self.partial = kept;
            self.used = true;
            match found {
                Ok(None) => {}
                Ok(Some(found)) => return Ok(found),
                Err(fault) => return Err(self.damaged(fault)),
            }
        }
    }

    fn damaged(&self, fault: Fault) -> ArchiveError {
        ArchiveError::Damaged { offset: self.item, fault }
    }

    fn magic(&mut self, input: &mut &[u8]) -> Result<bool, ArchiveError> {
        self.gather(input, MAGIC.len());
        if !MAGIC.starts_with(&self.partial) {
            return Err(self.damaged(Fault::Magic));
        }
        let whole = self.partial.len() == MAGIC.len();
        if whole {
            self.used = true;
            self.state = State::Header;
        }
        Ok(whole)
    }

    /// The largest document that may stand here.
    fn largest(&self) -> usize {
        match self.state {
            State::Magic | State::Header | State::Between => MAX_HEADER,
            State::Namespaces | State::Body(_) | State::Ended(_) => MAX_DOCUMENT,
        }
    }

    /// The next document or terminator; None when the input ends before it does.
    fn item(&mut self, input: &mut &[u8]) -> Result<Option<Item>, ArchiveError> {
        if self.used {
            self.used = false;
            self.partial.clear();
        }
        if self.partial.is_empty() {
            self.item = self.at;
        }
        let head = if self.partial.is_empty() && input.len() >= 4 {
            [input[0], input[1], input[2], input[3]]
        } else {
            self.gather(input, 4);
            match self.partial.first_chunk() {
                Some(head) => *head,
                None => return Ok(None),
            }
        };
        if head == TERMINATOR {
            if self.partial.is_empty() {
                self.skip(input, 4);
            }
            return Ok(Some(Item::Terminator));
        }
        let (found, max) = (u32::from_le_bytes(head), self.largest());
        let length = usize::try_from(found).ok().filter(|length| (MIN_DOCUMENT..=max).contains(length));
        let Some(length) = length else { return Err(self.damaged(Fault::Length { found, max })) };
        let last = if self.partial.is_empty() && input.len() >= length {
            let last = input[length - 1];
            self.skip(input, length);
            (last, Item::Inline(length))
        } else {
            self.gather(input, length);
            match self.partial.get(length - 1) {
                Some(last) => (*last, Item::Kept),
                None => return Ok(None),
            }
        };
        match last {
            (0, item) => Ok(Some(item)),
            _ => Err(self.damaged(Fault::NoZero { length })),
        }
    }

    /// Takes what is there until `partial` has `length` bytes. It grows with what arrives, not with what was claimed, and
    /// never beyond the length.
    fn gather(&mut self, input: &mut &[u8], length: usize) {
        let wanted = length.saturating_sub(self.partial.len()).min(input.len());
        let needed = self.partial.len() + wanted;
        if needed > self.partial.capacity() {
            let capacity = needed.max(self.partial.capacity() * 2).min(length);
            self.partial.reserve_exact(capacity - self.partial.len());
        }
        self.partial.extend_from_slice(&input[..wanted]);
        self.skip(input, wanted);
    }

    fn skip(&mut self, input: &mut &[u8], length: usize) {
        *input = &input[length..];
        self.at += length as u64;
    }

    /// One document, or with None a terminator.
    fn take(&mut self, bytes: Option<&[u8]>, inline: Option<usize>) -> Result<Option<Found>, Fault> {
        match (self.state, bytes) {
            (State::Header, Some(bytes)) => {
                self.prelude.header = Header::read(bytes)?;
                self.state = State::Namespaces;
            }
            (State::Namespaces, Some(bytes)) => {
                self.prelude_bytes += bytes.len();
                if self.prelude_bytes > MAX_PRELUDE {
                    return Err(Fault::PreludeTooLarge);
                }
                self.announce(Namespace::read(bytes)?)?;
            }
            (State::Namespaces, None) => {
                self.state = State::Between;
                return Ok(Some(Found::Prelude));
            }
            (State::Between, Some(bytes)) => {
                if self.open == 0 {
                    return Err(Fault::Trailing);
                }
                return self.block(&BlockHeader::read(bytes)?);
            }
            (State::Body(namespace), Some(bytes)) => {
                let track = &mut self.tracks[namespace];
                track.crc.write(bytes);
                track.counts.documents += 1;
                track.counts.bytes += bytes.len() as u64;
                return Ok(Some(Found::Document(namespace, inline)));
            }
            (State::Body(_) | State::Ended(_), None) => self.state = State::Between,
            (State::Ended(namespace), Some(_)) => return Err(Fault::AfterEnd(self.name(namespace))),
            (State::Between, None) if self.open == 0 => return Err(Fault::Trailing),
            (State::Magic | State::Header | State::Between, _) => return Err(Fault::Headerless),
        }
        Ok(None)
    }

    fn announce(&mut self, namespace: Namespace) -> Result<(), Fault> {
        let index = self.prelude.namespaces.len();
        let mut name = |collection: String| self.names.insert((namespace.db.clone(), collection), index).is_some();
        // Servers since 8.3 keep a time series under its own name, older ones as buckets.
        let twice = name(namespace.collection.clone())
            | (namespace.kind == Kind::Timeseries && name(namespace.data_collection()));
        if twice {
            return Err(Fault::Twice(namespace.full_name()));
        }
        self.prelude.namespaces.push(namespace);
        self.tracks.push(Track::default());
        self.open += 1;
        Ok(())
    }

    fn block(&mut self, header: &BlockHeader) -> Result<Option<Found>, Fault> {
        let key = (header.db.clone(), header.collection.clone());
        let Some(&namespace) = self.names.get(&key) else {
            return Err(Fault::Unknown(format!("{}.{}", key.0, key.1)));
        };
        let track = &mut self.tracks[namespace];
        if track.closed {
            return Err(Fault::AfterEnd(self.name(namespace)));
        }
        let Some(recorded) = header.end else {
            self.state = State::Body(namespace);
            return Ok(None);
        };
        let computed = track.crc.sum64();
        if computed != recorded {
            return Err(Fault::Crc { namespace: self.name(namespace), computed, recorded });
        }
        track.closed = true;
        let counts = track.counts;
        self.open -= 1;
        self.state = State::Ended(namespace);
        Ok(Some(Found::End(namespace, counts)))
    }

    fn name(&self, namespace: usize) -> String {
        self.prelude.namespaces.get(namespace).map_or_else(|| "?".to_owned(), Namespace::full_name)
    }
}
