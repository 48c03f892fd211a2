//! A small object on its way: held until its commit, then written by one conditional put.

use async_trait::async_trait;
use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload, path::Path};
use shared::{manifest, name::StoreKey};
use tokio_util::sync::CancellationToken;

use super::S3Store;
use crate::store::{Fault, StoreError, Stored, Upload, Whole, check_length};

/// The most that is held: a manifest with an inventory of 100,000 tables is a quarter of it.
const MOST: u64 = 64 << 20;

/// Whether the object is one that is at hand as a whole: the manifest, whose appearance makes the copy.
pub(super) fn is_small(key: &StoreKey) -> bool {
    key.as_str().rsplit('/').next() == Some(manifest::PART)
}

#[derive(Debug)]
pub(super) struct WholeUpload {
    store: S3Store,
    key: StoreKey,
    path: Path,
    pieces: Vec<Bytes>,
    written: u64,
    cancel: CancellationToken,
}

impl WholeUpload {
    pub(super) fn new(store: S3Store, key: StoreKey, path: Path, cancel: CancellationToken) -> Self {
        Self { store, key, path, pieces: Vec::new(), written: 0, cancel }
    }

    fn fault(&self, doing: &'static str, fault: Fault) -> StoreError {
        self.store.fault(doing, self.key.as_str(), fault)
    }

    /// The first put may have been done and its answer lost, so that its repetition found it.
    async fn is_ours(&self) -> Result<bool, StoreError> {
        let error = || self.store.error("committing", self.key.as_str());
        let found = self.store.client.get(&self.path).await.map_err(error())?;
        if found.meta.size != self.written {
            return Ok(false);
        }
        let found = found.bytes().await.map_err(error())?;
        let mut rest = &found[..];
        for piece in &self.pieces {
            let Some(after) = rest.strip_prefix(&piece[..]) else { return Ok(false) };
            rest = after;
        }
        Ok(rest.is_empty())
    }
}

#[async_trait]
impl Upload for WholeUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.cancel.is_cancelled() {
            return Err(self.fault("writing", Fault::Cancelled));
        }
        self.written += bytes.len() as u64;
        if self.written > MOST {
            return Err(self.fault("writing", Fault::Failed).because("it is too large to be written at once"));
        }
        // A copy: what comes may be a block that its pool waits for.
        self.pieces.push(Bytes::copy_from_slice(&bytes));
        Ok(())
    }

    async fn commit(self: Box<Self>, whole: &Whole) -> Result<Stored, StoreError> {
        let doing = "committing";
        if self.cancel.is_cancelled() {
            return Err(self.fault(doing, Fault::Cancelled));
        }
        check_length(&self.store.name, &self.key, self.written, self.written, whole)?;
        let payload: PutPayload = self.pieces.iter().cloned().collect();
        let created = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(self.fault(doing, Fault::Cancelled)),
            created = self.store.create(doing, self.key.as_str(), &self.path, payload) => created?,
        };
        if !created && !self.is_ours().await? {
            return Err(self.fault(doing, Fault::Exists));
        }
        let found = self.store.head(doing, self.key.as_str(), &self.path).await?;
        check_length(&self.store.name, &self.key, found.map_or(0, |meta| meta.size), self.written, whole)?;
        Ok(Stored { bytes: self.written, read_back: None })
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        Ok(())
    }
}
