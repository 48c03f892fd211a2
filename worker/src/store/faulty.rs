//! A store that fails on demand, for tests: a script says at which call of which operation what goes wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use shared::id::InstallationId;
use shared::name::{Slug, StoreKey};
use tokio_util::sync::CancellationToken;

use super::{
    ByteStream, Fault, Listed, Marker, ReadBack, Removed, Stat, Store, StoreError, Stored, Upload, UploadRef, Whole,
};

/// An operation that can be made to fail. `ReadBlock` counts the blocks of all reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Prepare,
    Upload,
    Write,
    End,
    Commit,
    Abort,
    Read,
    ReadBlock,
    Stat,
    Delete,
    Discard,
    List,
    Marker,
    Claim,
    Adopt,
}

/// What happens instead of, or on top of, the operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mischief {
    /// The operation is not done and answers so.
    Error(Fault),
    /// The operation **is** done, and the answer is lost.
    LostAnswer(Fault),
    /// A write stores only this many bytes and says nothing (`Write`).
    ShortWrite(usize),
    /// One bit of what is read is turned over, counted from the block's start, modulo its length (`ReadBlock`).
    FlipBit(usize),
    /// What is read ends here without an error (`ReadBlock`).
    Truncate,
    /// Bytes that were never stored follow (`ReadBlock`).
    Extra(usize),
    /// The operation takes this much longer.
    Slow(Duration),
    /// The operation does not end.
    Hang,
}

type Script = Arc<Mutex<(HashMap<Op, u64>, Vec<(Op, u64, Mischief)>)>>;

/// Wraps a store. Without a script it does what the inner store does.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    script: Script,
}

impl Faulty {
    /// Each entry: the operation, which call of it (from 1; 0 for every call), and what happens.
    pub fn new(inner: Arc<dyn Store>, script: Vec<(Op, u64, Mischief)>) -> Self {
        Self { inner, script: Arc::new(Mutex::new((HashMap::new(), script))) }
    }

    /// How often an operation was called.
    pub fn calls(&self, op: Op) -> u64 {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).0.get(&op).copied().unwrap_or(0)
    }

    fn due(&self, op: Op) -> Option<Mischief> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = script.0.entry(op).or_default();
        *calls += 1;
        let now = *calls;
        script.1.iter().find(|(kind, at, _)| *kind == op && (*at == 0 || *at == now)).map(|(_, _, what)| what.clone())
    }

    fn error(&self, place: &str, fault: Fault) -> StoreError {
        StoreError::new(self.inner.name(), "(injected)", place, fault)
    }

    /// What comes before the operation; an answer to lose is returned.
    async fn before(&self, op: Op) -> Result<Option<StoreError>, StoreError> {
        match self.due(op) {
            Some(Mischief::Error(fault)) => Err(self.error("", fault)),
            Some(Mischief::LostAnswer(fault)) => Ok(Some(self.error("", fault))),
            Some(Mischief::Slow(time)) => {
                tokio::time::sleep(time).await;
                Ok(None)
            }
            Some(Mischief::Hang) => std::future::pending().await,
            _ => Ok(None),
        }
    }
}

fn answer<T>(lost: Option<StoreError>, done: Result<T, StoreError>) -> Result<T, StoreError> {
    match lost {
        Some(error) => done.and(Err(error)),
        None => done,
    }
}

#[async_trait]
impl Store for Faulty {
    fn name(&self) -> &Slug {
        self.inner.name()
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn read_back(&self) -> ReadBack {
        self.inner.read_back()
    }

    fn max_object_bytes(&self) -> Option<u64> {
        self.inner.max_object_bytes()
    }

    async fn inspect(&self) -> Result<(), StoreError> {
        self.inner.inspect().await
    }

    async fn prepare(&self, key: &StoreKey) -> Result<UploadRef, StoreError> {
        answer(self.before(Op::Prepare).await?, self.inner.prepare(key).await)
    }

    async fn upload(
        &self,
        key: &StoreKey,
        at: &UploadRef,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn Upload>, StoreError> {
        let lost = self.before(Op::Upload).await?;
        let inner = answer(lost, self.inner.upload(key, at, cancel).await)?;
        Ok(Box::new(FaultyUpload { inner, faulty: self.clone() }))
    }

    async fn read(&self, key: &StoreKey, cancel: &CancellationToken) -> Result<ByteStream, StoreError> {
        let inner = answer(self.before(Op::Read).await?, self.inner.read(key, cancel).await)?;
        let faulty = self.clone();
        let blocks = stream::try_unfold(Some(inner), move |inner| {
            let faulty = faulty.clone();
            async move {
                let Some(mut inner) = inner else { return Ok(None) };
                let next = inner.next().await.transpose()?;
                match (faulty.due(Op::ReadBlock), next) {
                    (Some(Mischief::Error(fault)), _) => Err(faulty.error("", fault)),
                    (Some(Mischief::Hang), _) => std::future::pending().await,
                    (Some(Mischief::Truncate), _) => Ok(None),
                    (Some(Mischief::Extra(n)), None) => Ok(Some((Bytes::from(vec![0x28; n]), None))),
                    (Some(Mischief::FlipBit(bit)), Some(block)) => {
                        let mut block = BytesMut::from(block);
                        let bit = bit % (block.len().max(1) * 8);
                        if let Some(byte) = block.get_mut(bit / 8) {
                            *byte ^= 1 << (bit % 8);
                        }
                        Ok(Some((block.freeze(), Some(inner))))
                    }
                    (Some(Mischief::Slow(time)), Some(block)) => {
                        tokio::time::sleep(time).await;
                        Ok(Some((block, Some(inner))))
                    }
                    (_, next) => Ok(next.map(|block| (block, Some(inner)))),
                }
            }
        });
        Ok(blocks.boxed())
    }

    async fn stat(&self, key: &StoreKey) -> Result<Option<Stat>, StoreError> {
        answer(self.before(Op::Stat).await?, self.inner.stat(key).await)
    }

    async fn delete(&self, key: &StoreKey) -> Result<Removed, StoreError> {
        answer(self.before(Op::Delete).await?, self.inner.delete(key).await)
    }

    async fn discard(&self, key: &StoreKey, at: &UploadRef) -> Result<(), StoreError> {
        answer(self.before(Op::Discard).await?, self.inner.discard(key, at).await)
    }

    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        answer(self.before(Op::List).await?, self.inner.list_after(prefix, after, limit).await)
    }

    async fn marker(&self) -> Result<Option<Marker>, StoreError> {
        answer(self.before(Op::Marker).await?, self.inner.marker().await)
    }

    async fn claim(&self, installation: InstallationId) -> Result<Marker, StoreError> {
        answer(self.before(Op::Claim).await?, self.inner.claim(installation).await)
    }

    async fn adopt(&self, from: InstallationId, to: InstallationId) -> Result<Marker, StoreError> {
        answer(self.before(Op::Adopt).await?, self.inner.adopt(from, to).await)
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn Upload>,
    faulty: Faulty,
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        match self.faulty.due(Op::Write) {
            Some(Mischief::Error(fault)) => Err(self.faulty.error("", fault)),
            Some(Mischief::LostAnswer(fault)) => self.inner.write(bytes).await.and(Err(self.faulty.error("", fault))),
            Some(Mischief::ShortWrite(kept)) => self.inner.write(bytes.slice(..kept.min(bytes.len()))).await,
            Some(Mischief::Hang) => std::future::pending().await,
            Some(Mischief::Slow(time)) => {
                tokio::time::sleep(time).await;
                self.inner.write(bytes).await
            }
            _ => self.inner.write(bytes).await,
        }
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        answer(self.faulty.before(Op::End).await?, self.inner.end().await)
    }

    async fn commit(self: Box<Self>, whole: &Whole) -> Result<Stored, StoreError> {
        let stored = answer(self.faulty.before(Op::Commit).await?, self.inner.commit(whole).await)?;
        // What goes wrong with reading must be met by the read-back too.
        Ok(Stored { read_back: None, ..stored })
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        answer(self.faulty.before(Op::Abort).await?, self.inner.abort().await)
    }
}
