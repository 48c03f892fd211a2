//! A large object on its way: parts of one size, a few of them in flight, made visible by the upload's completion.
//!
//! Memory: at most [`BUFFERS`] parts, of which one is being filled while the others are sent: 48 MiB, whatever the object's
//! size. What comes is copied into them, as the stream's blocks are few and wanted back.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::{
    PutPayload,
    multipart::{MultipartStore, PartId},
    path::Path,
};
use shared::name::StoreKey;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::S3Store;
use crate::store::{Fault, Store, StoreError, Stored, Upload, UploadRef, Whole, check_length};

/// Size of every part but the last. Services take 5 MiB to 5 GiB.
const PART_BYTES: usize = 16 << 20;
/// Parts in memory at once.
const BUFFERS: usize = 3;
/// A longer dump goes on in another object: well below what any provider takes, and no object is unwieldy.
pub(super) const MOST_OBJECT_BYTES: u64 = 900 * PART_BYTES as u64;
/// The most that a service takes; with these parts an object of 156 GiB.
const MOST_PARTS: usize = 10_000;

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A write failed or was abandoned: what is in the store is unknown, so nothing may be committed.
    Broken,
    Done,
}

type Sent = (usize, Result<PartId, object_store::Error>);

#[derive(Debug)]
pub(super) struct PartsUpload {
    store: S3Store,
    key: StoreKey,
    path: Path,
    at: UploadRef,
    id: String,
    filling: Option<BytesMut>,
    /// Ended with this upload when it is dropped.
    sending: JoinSet<Sent>,
    parts: Vec<Option<PartId>>,
    written: u64,
    state: State,
    cancel: CancellationToken,
}

impl PartsUpload {
    pub(super) fn new(
        store: S3Store,
        key: StoreKey,
        path: Path,
        (at, id): (UploadRef, String),
        cancel: CancellationToken,
    ) -> Self {
        Self {
            store,
            key,
            path,
            at,
            id,
            filling: None,
            sending: JoinSet::new(),
            parts: Vec::new(),
            written: 0,
            state: State::Open,
            cancel,
        }
    }

    fn fault(&self, doing: &'static str, fault: Fault) -> StoreError {
        self.store.fault(doing, self.key.as_str(), fault)
    }

    fn require_open(&self, doing: &'static str) -> Result<(), StoreError> {
        if self.cancel.is_cancelled() {
            return Err(self.fault(doing, Fault::Cancelled));
        }
        if self.state == State::Open { Ok(()) } else { Err(self.fault(doing, Fault::Failed)) }
    }

    /// Waits until at most `left` parts are in flight.
    async fn drain(&mut self, doing: &'static str, left: usize) -> Result<(), StoreError> {
        while self.sending.len() > left {
            let ended = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(self.fault(doing, Fault::Cancelled)),
                ended = self.sending.join_next() => ended,
            };
            match ended {
                Some(Ok((n, Ok(part)))) => {
                    if let Some(slot) = self.parts.get_mut(n) {
                        *slot = Some(part);
                    }
                }
                Some(Ok((_, Err(error)))) => return Err(self.lost(doing, error)),
                Some(Err(died)) => return Err(self.fault(doing, Fault::Failed).because(died)),
                None => break,
            }
        }
        Ok(())
    }

    /// An upload that is gone was ended by somebody who thought its worker dead.
    fn lost(&self, doing: &'static str, error: object_store::Error) -> StoreError {
        let error = self.store.error(doing, self.key.as_str())(error);
        if *error.fault() != Fault::Missing {
            return error;
        }
        let detail = "the service does not know the upload any more".to_owned();
        self.fault(doing, Fault::Incomplete { detail }).because(error)
    }

    fn send(&mut self, part: BytesMut) -> Result<(), StoreError> {
        let n = self.parts.len();
        if n == MOST_PARTS {
            return Err(self
                .fault("writing", Fault::Failed)
                .because("an object in this store has at most 10,000 parts"));
        }
        self.parts.push(None);
        self.written += part.len() as u64;
        let (client, path, id) = (self.store.client.clone(), self.path.clone(), self.id.clone());
        let payload = PutPayload::from(part.freeze());
        self.sending.spawn(async move { (n, client.put_part(&path, &id, n, payload).await) });
        Ok(())
    }

    async fn take(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let mut filling = if let Some(filling) = self.filling.take() {
                filling
            } else {
                self.drain("writing", BUFFERS - 1).await?;
                BytesMut::with_capacity(PART_BYTES)
            };
            let room = (PART_BYTES - filling.len()).min(bytes.len());
            filling.extend_from_slice(&bytes.split_to(room));
            if filling.len() == PART_BYTES {
                self.send(filling)?;
            } else {
                self.filling = Some(filling);
            }
        }
        Ok(())
    }

    async fn publish(&mut self, whole: &Whole) -> Result<Stored, StoreError> {
        let doing = "committing";
        self.require_open(doing)?;
        if let Some(rest) = self.filling.take() {
            self.send(rest)?;
        }
        self.drain(doing, 0).await?;
        check_length(&self.store.name, &self.key, self.written, self.written, whole)?;
        // Keys hold the epoch, so that nobody but this attempt writes here: a look before is enough.
        if self.store.head(doing, self.key.as_str(), &self.path).await?.is_some() {
            return Err(self.fault(doing, Fault::Exists));
        }
        let parts: Vec<PartId> = self.parts.drain(..).flatten().collect();
        let completed = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(self.fault(doing, Fault::Cancelled)),
            completed = self.store.client.complete_multipart(&self.path, &self.id, parts) => completed,
        };
        let lost = completed.err().map(|error| self.lost(doing, error));
        if let Some(error) = lost {
            // A repeated request does not know the upload either when the first one has completed it.
            let repeated = matches!(error.fault(), Fault::Incomplete { .. });
            if !repeated || self.store.head(doing, self.key.as_str(), &self.path).await?.is_none() {
                return Err(error);
            }
        }
        let found = self.store.head(doing, self.key.as_str(), &self.path).await?;
        check_length(&self.store.name, &self.key, found.map_or(0, |meta| meta.size), self.written, whole)?;
        Ok(Stored { bytes: self.written, read_back: None })
    }

    async fn discard(&mut self) -> Result<(), StoreError> {
        self.state = State::Done;
        self.filling = None;
        self.sending.shutdown().await;
        self.store.discard(&self.key, &self.at).await
    }
}

#[async_trait]
impl Upload for PartsUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.require_open("writing")?;
        self.state = State::Broken;
        self.take(bytes).await?;
        self.state = State::Open;
        Ok(())
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        self.require_open("writing")?;
        self.state = State::Broken;
        if let Some(rest) = self.filling.take() {
            self.send(rest)?;
        }
        self.drain("writing", 0).await?;
        self.state = State::Open;
        Ok(())
    }

    async fn commit(mut self: Box<Self>, whole: &Whole) -> Result<Stored, StoreError> {
        let published = self.publish(whole).await;
        match &published {
            Ok(_) => self.state = State::Done,
            Err(error) if *error.fault() == Fault::Exists => self.discard().await?,
            // Whether the object became visible is unknown: the upload stays.
            Err(_) => self.state = State::Broken,
        }
        published
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        self.discard().await
    }
}

impl Drop for PartsUpload {
    fn drop(&mut self) {
        if self.state != State::Done {
            tracing::warn!(store = %self.store.name, key = %self.key, upload = %self.at, "upload dropped before its commit, its parts stay until gc");
        }
    }
}
