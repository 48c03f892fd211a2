//! An archive read from a stream: the prelude first, then document after document.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{
    ArchiveError, Event, Prelude,
    parser::{Found, Parser},
};

/// Read at once; documents that lie within are not copied.
const CHUNK: usize = 256 * 1024;

/// Reads an archive. Memory: a chunk of 256 KiB, at most one document of up to 16 MiB, and the prelude.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    parser: Parser,
    chunk: Vec<u8>,
    /// What of the chunk is not parsed yet.
    from: usize,
    to: usize,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads the prelude.
    pub async fn open(input: R) -> Result<Self, ArchiveError> {
        let mut this = Self { input, parser: Parser::default(), chunk: vec![0; CHUNK], from: 0, to: 0 };
        // Its end comes before any document.
        match this.find().await? {
            Some(_) => Ok(this),
            None => Err(this.parser.finish().err().unwrap_or_else(|| this.unread())),
        }
    }

    /// What the archive announces.
    pub fn prelude(&self) -> &Prelude {
        self.parser.whole_prelude()
    }

    /// The next document or the end of a namespace; None at the end of the archive, which was whole then. It may be dropped
    /// and called again: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Event<'_>>, ArchiveError> {
        Ok(match self.find().await? {
            None => {
                self.parser.finish()?;
                None
            }
            Some(Found::Document(namespace, Some(length))) => {
                Some(Event::Document { namespace, bytes: &self.chunk[self.from - length..self.from] })
            }
            Some(Found::Document(namespace, None)) => Some(Event::Document { namespace, bytes: self.parser.kept() }),
            Some(Found::End(namespace, counts)) => Some(Event::End { namespace, counts }),
            Some(Found::Prelude | Found::More) => return Err(self.unread()),
        })
    }

    /// Bytes of the archive that were parsed.
    pub fn offset(&self) -> u64 {
        self.parser.offset()
    }

    async fn find(&mut self) -> Result<Option<Found>, ArchiveError> {
        loop {
            let mut left = &self.chunk[self.from..self.to];
            let found = self.parser.advance(&mut left);
            self.from = self.to - left.len();
            match found? {
                Found::More => {}
                found => return Ok(Some(found)),
            }
            let read = self.input.read(&mut self.chunk).await;
            let read = read.map_err(|source| ArchiveError::Read { offset: self.parser.offset(), source })?;
            (self.from, self.to) = (0, read);
            if read == 0 {
                return Ok(None);
            }
        }
    }

    /// The parser never answers so; an error is better than a panic.
    fn unread(&self) -> ArchiveError {
        let source = std::io::Error::other("the archive's parser is out of step");
        ArchiveError::Read { offset: self.parser.offset(), source }
    }
}
