//! A GridFS file on its way: its chunks first, its `fs.files` document at the commit.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use mongodb::bson::raw::RawBinaryRef;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{DateTime, doc, oid::ObjectId};
use serde::Serialize;
use shared::name::StoreKey;
use tokio_util::sync::CancellationToken;

use super::GridFsStore;
use crate::store::{Fault, Store, StoreError, Stored, Upload, UploadRef, Whole, check_length};

#[derive(Serialize)]
struct Chunk<'a> {
    _id: ObjectId,
    files_id: &'a str,
    n: i32,
    data: RawBinaryRef<'a>,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    /// A write failed or was abandoned: what is in the store is unknown, so nothing may be committed.
    Broken,
    Done,
}

#[derive(Debug)]
pub(super) struct GridFsUpload {
    store: GridFsStore,
    key: StoreKey,
    at: UploadRef,
    pending: BytesMut,
    n: i32,
    written: u64,
    state: State,
    cancel: CancellationToken,
}

impl GridFsUpload {
    pub(super) fn new(store: GridFsStore, key: StoreKey, at: UploadRef, cancel: CancellationToken) -> Self {
        Self { store, key, at, pending: BytesMut::new(), n: 0, written: 0, state: State::Open, cancel }
    }

    fn fault(&self, doing: &'static str, fault: Fault) -> StoreError {
        StoreError::new(&self.store.name, doing, self.key.as_str(), fault)
    }

    fn require_open(&self, doing: &'static str) -> Result<(), StoreError> {
        if self.cancel.is_cancelled() {
            return Err(self.fault(doing, Fault::Cancelled));
        }
        if self.state == State::Open { Ok(()) } else { Err(self.fault(doing, Fault::Failed)) }
    }

    async fn insert_chunk(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let data = RawBinaryRef { subtype: BinarySubtype::Generic, bytes };
        let chunk = Chunk { _id: ObjectId::new(), files_id: self.at.as_str(), n: self.n, data };
        let chunks = self.store.chunks.clone_with_type::<Chunk<'_>>();
        self.state = State::Broken;
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(self.fault("writing", Fault::Cancelled)),
            done = chunks.insert_one(&chunk) => done.map_err(self.store.error("writing", self.key.as_str()))?,
        };
        self.state = State::Open;
        self.n += 1;
        self.written += bytes.len() as u64;
        Ok(())
    }

    async fn publish(&mut self, whole: &Whole) -> Result<Stored, StoreError> {
        self.require_open("committing")?;
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() {
            self.insert_chunk(&rest).await?;
        }
        check_length(&self.store.name, &self.key, self.written, self.written, whole)?;
        let error = || self.store.error("committing", self.key.as_str());
        // A worker that was stopped for long may find its chunks discarded.
        let held = self.store.chunks.count_documents(doc! { "files_id": self.at.as_str() }).await.map_err(error())?;
        if i64::try_from(held).ok() != Some(i64::from(self.n)) {
            let detail = format!("{held} of {} chunks are there", self.n);
            return Err(self.fault("committing", Fault::Incomplete { detail }));
        }
        if !self.store.find("committing", &self.key).await?.is_empty() {
            return Err(self.fault("committing", Fault::Exists));
        }
        let chunk_bytes = i32::try_from(self.store.chunk_bytes).unwrap_or(i32::MAX);
        let file = doc! {
            "_id": self.at.as_str(),
            "length": i64::try_from(self.written).unwrap_or(i64::MAX),
            "chunkSize": chunk_bytes,
            "uploadDate": DateTime::now(),
            "filename": self.key.as_str(),
        };
        self.store.files.insert_one(file).await.map_err(error())?;
        // Two workers that commit one key at the same instant both see the other's here, and both withdraw.
        if self.store.find("committing", &self.key).await?.len() > 1 {
            self.store.files.delete_one(doc! { "_id": self.at.as_str() }).await.map_err(error())?;
            return Err(self.fault("committing", Fault::Exists));
        }
        Ok(Stored { bytes: self.written, read_back: None })
    }
}

#[async_trait]
impl Upload for GridFsUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.require_open("writing")?;
        let size = self.store.chunk_bytes as usize;
        while !bytes.is_empty() {
            if self.pending.is_empty() && bytes.len() >= size {
                let chunk = bytes.split_to(size);
                self.insert_chunk(&chunk).await?;
                continue;
            }
            self.pending.reserve(size - self.pending.len());
            let room = (size - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes.split_to(room));
            if self.pending.len() == size {
                let mut chunk = std::mem::take(&mut self.pending);
                self.insert_chunk(&chunk).await?;
                chunk.clear();
                self.pending = chunk;
            }
        }
        Ok(())
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        self.require_open("writing")?;
        let rest = std::mem::take(&mut self.pending);
        if rest.is_empty() { Ok(()) } else { self.insert_chunk(&rest).await }
    }

    async fn commit(mut self: Box<Self>, whole: &Whole) -> Result<Stored, StoreError> {
        let published = self.publish(whole).await;
        match &published {
            Ok(_) => self.state = State::Done,
            Err(error) if *error.fault() == Fault::Exists => {
                let files_id = self.at.as_str().into();
                self.store.drop_chunks("withdrawing", &files_id).await?;
                self.state = State::Done;
            }
            // Whether the file became visible is unknown: its chunks stay.
            Err(_) => self.state = State::Broken,
        }
        published
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        self.state = State::Done;
        self.store.discard(&self.key, &self.at).await
    }
}

impl Drop for GridFsUpload {
    fn drop(&mut self) {
        if self.state != State::Done {
            tracing::warn!(store = %self.store.name, key = %self.key, files_id = %self.at, "upload dropped before its commit, its chunks stay until gc");
        }
    }
}
