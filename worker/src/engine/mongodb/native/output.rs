//! The one writer of an archive, which the collections share: whole batches of one after batches of another.

use tokio::{
    io::{AsyncWriteExt as _, DuplexStream},
    sync::Mutex,
};

use super::super::{
    super::{EngineError, ErrorCode},
    archive::{Framing, Prelude, WriteError, check_document},
};

/// Small documents are gathered to so much before they are written.
const GATHERED: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Output(Mutex<State>);

#[derive(Debug)]
struct State {
    framing: Framing,
    pipe: DuplexStream,
    gathered: Vec<u8>,
    written: u64,
}

impl Output {
    /// Writes the prelude.
    pub(super) async fn begin(prelude: &Prelude, pipe: DuplexStream) -> Result<Self, EngineError> {
        let mut state =
            State { framing: Framing::new(prelude), pipe, gathered: Vec::with_capacity(2 * GATHERED), written: 0 };
        state.write(&prelude.encode()).await?;
        Ok(Self(Mutex::new(state)))
    }

    /// Writes documents of a namespace.
    pub(super) async fn documents(&self, namespace: usize, documents: &[&[u8]]) -> Result<(), EngineError> {
        let mut state = self.0.lock().await;
        let State { framing, gathered, .. } = &mut *state;
        framing.before(namespace, gathered).map_err(unwritable)?;
        for document in documents {
            check_document(document).map_err(unwritable)?;
            if state.gathered.len() + document.len() > GATHERED {
                state.flush().await?;
            }
            if document.len() > GATHERED {
                state.write(document).await?;
            } else {
                state.gathered.extend_from_slice(document);
            }
        }
        // Nothing of it stays here while others write.
        state.flush().await
    }

    /// Writes the end of a namespace.
    pub(super) async fn end_of(&self, namespace: usize, crc: u64) -> Result<(), EngineError> {
        let mut state = self.0.lock().await;
        let State { framing, gathered, .. } = &mut *state;
        framing.end(namespace, crc, gathered).map_err(unwritable)?;
        state.flush().await
    }

    /// Closes the archive, if it is one; how many bytes it has.
    pub(super) async fn end(self) -> Result<u64, EngineError> {
        let mut state = self.0.into_inner();
        state.flush().await?;
        state.framing.finish().map_err(unwritable)?;
        state.pipe.shutdown().await.map_err(gone)?;
        Ok(state.written)
    }
}

impl State {
    async fn flush(&mut self) -> Result<(), EngineError> {
        let gathered = std::mem::take(&mut self.gathered);
        self.write(&gathered).await?;
        self.gathered = gathered;
        self.gathered.clear();
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        self.pipe.write_all(bytes).await.map_err(gone)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

fn gone(error: std::io::Error) -> EngineError {
    EngineError::new(ErrorCode::Internal, "nobody reads the dump any more").with_source(error)
}

fn unwritable(error: WriteError) -> EngineError {
    EngineError::new(ErrorCode::EmptyOrBadFormat, "the archive cannot be written").with_source(error)
}
