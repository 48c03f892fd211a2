//! The failpoints before and after every call of a store, around any store. Debug builds alone have it, so that back
//! ends stay clean of tests.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use shared::{
    failpoint,
    id::InstallationId,
    name::{Slug, StoreKey},
};
use tokio_util::sync::CancellationToken;

use super::{ByteStream, Listed, Marker, ReadBack, Removed, Stat, Store, StoreError, Stored, Upload, UploadRef, Whole};

/// Does what the inner store does, between two failpoints per call.
#[derive(Debug)]
pub(crate) struct Failing {
    inner: Arc<dyn Store>,
}

impl Failing {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl Store for Failing {
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
        failpoint!("store.prepare.before");
        let done = self.inner.prepare(key).await;
        failpoint!("store.prepare.after");
        done
    }

    async fn upload(
        &self,
        key: &StoreKey,
        at: &UploadRef,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn Upload>, StoreError> {
        failpoint!("store.upload.before");
        let inner = self.inner.upload(key, at, cancel).await;
        failpoint!("store.upload.after");
        Ok(Box::new(FailingUpload { inner: inner? }))
    }

    async fn read(&self, key: &StoreKey, cancel: &CancellationToken) -> Result<ByteStream, StoreError> {
        self.read_from(key, 0, cancel).await
    }

    async fn read_from(
        &self,
        key: &StoreKey,
        offset: u64,
        cancel: &CancellationToken,
    ) -> Result<ByteStream, StoreError> {
        failpoint!("store.read.before");
        let done = self.inner.read_from(key, offset, cancel).await;
        failpoint!("store.read.after");
        done
    }

    async fn stat(&self, key: &StoreKey) -> Result<Option<Stat>, StoreError> {
        failpoint!("store.stat.before");
        let done = self.inner.stat(key).await;
        failpoint!("store.stat.after");
        done
    }

    async fn delete(&self, key: &StoreKey) -> Result<Removed, StoreError> {
        failpoint!("store.delete.before");
        let done = self.inner.delete(key).await;
        failpoint!("store.delete.after");
        done
    }

    async fn discard(&self, key: &StoreKey, at: &UploadRef) -> Result<(), StoreError> {
        failpoint!("store.discard.before");
        let done = self.inner.discard(key, at).await;
        failpoint!("store.discard.after");
        done
    }

    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.inner.list_after(prefix, after, limit).await
    }

    async fn marker(&self) -> Result<Option<Marker>, StoreError> {
        self.inner.marker().await
    }

    /// An operator's command, no job's.
    async fn adopt(&self, from: InstallationId, to: InstallationId) -> Result<Marker, StoreError> {
        self.inner.adopt(from, to).await
    }

    async fn claim(&self, installation: InstallationId) -> Result<Marker, StoreError> {
        failpoint!("store.claim.before");
        let done = self.inner.claim(installation).await;
        failpoint!("store.claim.after");
        done
    }
}

#[derive(Debug)]
struct FailingUpload {
    inner: Box<dyn Upload>,
}

#[async_trait]
impl Upload for FailingUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        failpoint!("store.write.before");
        let done = self.inner.write(bytes).await;
        failpoint!("store.write.after");
        done
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        failpoint!("store.end.before");
        let done = self.inner.end().await;
        failpoint!("store.end.after");
        done
    }

    async fn commit(self: Box<Self>, whole: &Whole) -> Result<Stored, StoreError> {
        failpoint!("store.commit.before");
        let done = self.inner.commit(whole).await;
        failpoint!("store.commit.after");
        done
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        failpoint!("store.abort.before");
        let done = self.inner.abort().await;
        failpoint!("store.abort.after");
        done
    }
}
