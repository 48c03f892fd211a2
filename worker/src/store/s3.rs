//! The `s3` store: a bucket of an S3 service, or a part of one under a prefix.
//!
//! An object is a multipart upload, which nobody sees before it is completed. Its id is the service's, so [`Store::prepare`]
//! creates the upload and the row names it before the first part is sent. A worker that is killed between the two leaves an
//! upload without a part: it holds no bytes and costs nothing (the alternative, to create it after the row and to find it
//! again by listing, needs a right more and a listing that some services do not have). The manifest is small and at hand:
//! one conditional put, for which the row's reference is a UUID of ours that names nothing but the row.
//!
//! In a bucket with versions, deleting a key hides it and frees nothing: this store deletes the version.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures_util::{StreamExt, stream};
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
    aws::AmazonS3,
    list::{PaginatedListOptions, PaginatedListStore},
    multipart::MultipartStore,
    path::Path,
};
use shared::{
    config,
    id::InstallationId,
    name::{Slug, StoreKey},
};
use tokio_util::sync::CancellationToken;

use super::{ByteStream, Fault, Listed, Marker, ReadBack, Removed, Stat, Store, StoreError, Upload, UploadRef};

mod connect;
mod fault;
mod privacy;
mod raw;
mod removal;
mod upload;
mod whole;

use fault::{from_client, is_not_implemented};
use privacy::Privacy;
use raw::Raw;
use upload::PartsUpload;
use whole::WholeUpload;

const MARKER: &str = ".holdfast-store.json";
/// Keys that one answer lists, the most a service gives.
const PAGE: usize = 1000;

/// Objects in a bucket. Cheap to clone.
#[derive(Clone)]
pub struct S3Store {
    name: Slug,
    read_back: ReadBack,
    /// Empty, or ends with a slash.
    prefix: String,
    client: AmazonS3,
    raw: Raw,
    privacy: Arc<Privacy>,
}

/// The clients would show their keys.
impl std::fmt::Debug for S3Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Store").field("name", &self.name).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl S3Store {
    /// Reads the settings. Nothing is sent before the first operation.
    pub fn open(name: Slug, settings: &config::S3, read_back: ReadBack) -> Result<Self, StoreError> {
        let invalid = |problem: String| {
            StoreError::new(&name, "opening", settings.bucket.as_str(), Fault::Denied).because(problem)
        };
        let (client, raw) = connect::connect(settings).map_err(invalid)?;
        let prefix = settings.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let privacy = Arc::new(Privacy::new(settings.allow_public));
        Ok(Self { name, read_back, prefix, client, raw, privacy })
    }

    fn error(&self, doing: &'static str, place: impl Into<String>) -> impl FnOnce(object_store::Error) -> StoreError {
        let (name, place) = (self.name.clone(), place.into());
        move |source| from_client(&name, doing, place, &source)
    }

    fn fault(&self, doing: &'static str, place: impl Into<String>, fault: Fault) -> StoreError {
        StoreError::new(&self.name, doing, place, fault)
    }

    /// Where an object lies in the bucket.
    fn path(&self, key: &StoreKey) -> Result<Path, StoreError> {
        if key.as_str().starts_with('.') {
            return Err(self.fault("naming", key.as_str(), Fault::Reserved));
        }
        self.place(key.as_str())
    }

    fn place(&self, key: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}{key}", self.prefix))
            .map_err(|error| self.fault("naming", key, Fault::Reserved).because(error))
    }

    /// What the service says of an object. An answer without a body cannot say whether the object or the bucket is
    /// missing, and of a bucket that is gone nobody may believe that its objects are deleted: so a second one is asked for.
    async fn head(&self, doing: &'static str, place: &str, path: &Path) -> Result<Option<ObjectMeta>, StoreError> {
        match self.client.head(path).await {
            Ok(meta) => Ok(Some(meta)),
            Err(object_store::Error::NotFound { .. }) => {
                self.page((path.as_ref(), None), 1, None).await.map_err(self.error(doing, place))?;
                Ok(None)
            }
            Err(error) => Err(self.error(doing, place)(error)),
        }
    }

    async fn page(
        &self,
        (prefix, after): (&str, Option<&str>),
        limit: usize,
        token: Option<String>,
    ) -> Result<(Vec<ObjectMeta>, Option<String>), object_store::Error> {
        let options = PaginatedListOptions {
            max_keys: Some(limit.min(PAGE)),
            offset: after.map(str::to_owned),
            page_token: token,
            ..PaginatedListOptions::default()
        };
        let prefix = (!prefix.is_empty()).then_some(prefix);
        let found = self.client.list_paginated(prefix, options).await?;
        Ok((found.result.objects, found.page_token))
    }

    /// Writes a small object where none is. `false`: there is one.
    async fn create(
        &self,
        doing: &'static str,
        place: &str,
        path: &Path,
        payload: object_store::PutPayload,
    ) -> Result<bool, StoreError> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.client.put_opts(path, payload.clone(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            // Conditional writes are younger than S3. Without them two that write one key at the same instant do not
            // notice each other: keys hold the epoch, so that only the marker's first write could meet another.
            Err(error) if is_not_implemented(&error) => {
                if self.head(doing, place, path).await?.is_some() {
                    return Ok(false);
                }
                self.client.put(path, payload).await.map(|_| true).map_err(self.error(doing, place))
            }
            Err(error) => Err(self.error(doing, place)(error)),
        }
    }

    /// The marker, and the version of it for a conditional change.
    async fn read_marker(&self, doing: &'static str) -> Result<Option<(Marker, UpdateVersion)>, StoreError> {
        let path = self.place(MARKER)?;
        let found = match self.client.get(&path).await {
            Ok(found) => found,
            // This answer has a body, which tells a bucket that is missing.
            Err(error) => {
                let error = self.error(doing, MARKER)(error);
                return if *error.fault() == Fault::Missing { Ok(None) } else { Err(error) };
            }
        };
        let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let text = found.bytes().await.map_err(self.error(doing, MARKER))?;
        let marker =
            serde_json::from_slice(&text).map_err(|error| self.fault(doing, MARKER, Fault::Failed).because(error))?;
        Ok(Some((marker, version)))
    }

    fn marker_text(&self, doing: &'static str, marker: &Marker) -> Result<Bytes, StoreError> {
        let text =
            serde_json::to_vec(marker).map_err(|error| self.fault(doing, MARKER, Fault::Failed).because(error))?;
        Ok(text.into())
    }
}

#[async_trait]
impl Store for S3Store {
    fn name(&self) -> &Slug {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "s3"
    }

    fn read_back(&self) -> ReadBack {
        self.read_back
    }

    fn max_object_bytes(&self) -> Option<u64> {
        Some(upload::MOST_OBJECT_BYTES)
    }

    async fn inspect(&self) -> Result<(), StoreError> {
        self.privacy.look(self).await
    }

    async fn prepare(&self, key: &StoreKey) -> Result<UploadRef, StoreError> {
        let path = self.path(key)?;
        if whole::is_small(key) {
            return Ok(UploadRef::generate());
        }
        let id =
            self.client.create_multipart(&path).await.map_err(self.error("opening an upload for", key.as_str()))?;
        Ok(UploadRef::multipart(&id))
    }

    async fn upload(
        &self,
        key: &StoreKey,
        at: &UploadRef,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn Upload>, StoreError> {
        let path = self.path(key)?;
        Ok(match at.multipart_id() {
            Some(id) => Box::new(PartsUpload::new(self.clone(), key.clone(), path, (at.clone(), id), cancel.clone())),
            None => Box::new(WholeUpload::new(self.clone(), key.clone(), path, cancel.clone())),
        })
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
        let path = self.path(key)?;
        // Of an object without bytes no range can be had.
        let range = (offset > 0).then_some(GetRange::Offset(offset));
        let found = self
            .client
            .get_opts(&path, GetOptions { range, ..GetOptions::default() })
            .await
            .map_err(self.error("reading", key.as_str()))?;
        let left = found.range.end.saturating_sub(found.range.start);
        let state = (found.into_stream(), left, self.clone(), key.clone(), cancel.clone());
        let blocks = stream::try_unfold(state, |(mut bytes, left, store, key, cancel)| async move {
            let doing = "reading";
            let next = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(store.fault(doing, key.as_str(), Fault::Cancelled)),
                next = bytes.next() => next,
            };
            let damaged = |detail: String| store.fault(doing, key.as_str(), Fault::Corrupt { detail });
            match next {
                Some(Ok(block)) => match left.checked_sub(block.len() as u64) {
                    Some(left) => Ok(Some((block, (bytes, left, store, key, cancel)))),
                    None => Err(damaged("more bytes came than the service had announced".to_owned())),
                },
                Some(Err(error)) => Err(store.error(doing, key.as_str())(error)),
                None if left > 0 => Err(damaged(format!("the last {left} bytes are missing"))),
                None => Ok(None),
            }
        });
        Ok(blocks.boxed())
    }

    async fn stat(&self, key: &StoreKey) -> Result<Option<Stat>, StoreError> {
        let found = self.head("looking up", key.as_str(), &self.path(key)?).await?;
        Ok(found.map(|meta| Stat { bytes: meta.size }))
    }

    async fn delete(&self, key: &StoreKey) -> Result<Removed, StoreError> {
        removal::remove(self, key.as_str(), &self.path(key)?).await
    }

    async fn discard(&self, key: &StoreKey, at: &UploadRef) -> Result<(), StoreError> {
        let Some(id) = at.multipart_id() else { return Ok(()) };
        let path = self.path(key)?;
        // A part that was on its way may arrive after the first end of its upload; the second finds nothing, or takes it.
        for _ in 0..2 {
            match self.client.abort_multipart(&path, &id).await.map_err(self.error("discarding upload", at.as_str())) {
                Ok(()) => {}
                Err(error) if *error.fault() == Fault::Missing => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let whole = format!("{}{prefix}", self.prefix);
        let after = (!after.is_empty()).then(|| format!("{}{after}", self.prefix));
        let (mut found, mut token) = (Vec::new(), None);
        while found.len() < limit {
            // The store's own objects are taken out below.
            let wanted = (limit - found.len()).saturating_add(2);
            let (objects, next) = self
                .page((&whole, after.as_deref()), wanted, token.take())
                .await
                .map_err(self.error("listing", prefix))?;
            let listed = objects.into_iter().filter_map(|meta| {
                let key = meta.location.as_ref().strip_prefix(self.prefix.as_str())?;
                (!key.starts_with('.')).then(|| Listed { key: key.to_owned(), bytes: meta.size })
            });
            found.extend(listed);
            token = next;
            if token.is_none() {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn marker(&self) -> Result<Option<Marker>, StoreError> {
        Ok(self.read_marker("reading the marker of").await?.map(|(marker, _)| marker))
    }

    async fn claim(&self, installation: InstallationId) -> Result<Marker, StoreError> {
        let doing = "claiming";
        self.privacy.require(self).await?;
        if let Some(marker) = self.marker().await? {
            return Ok(marker);
        }
        let text = self.marker_text(doing, &Marker { installation, created_at: Utc::now() })?;
        // Where another worker was faster, what it wrote is read below.
        self.create(doing, MARKER, &self.place(MARKER)?, text.into()).await?;
        self.marker().await?.ok_or_else(|| self.fault(doing, MARKER, Fault::Failed))
    }

    async fn adopt(&self, from: InstallationId, to: InstallationId) -> Result<Marker, StoreError> {
        let doing = "adopting";
        let Some((held, version)) = self.read_marker(doing).await? else {
            return Err(self.fault(doing, MARKER, Fault::Missing));
        };
        if held.installation != from {
            return Err(StoreError::foreign(&self.name, held.installation));
        }
        let marker = Marker { installation: to, created_at: Utc::now() };
        let (path, text) = (self.place(MARKER)?, self.marker_text(doing, &marker)?);
        let options = PutOptions { mode: PutMode::Update(version), ..PutOptions::default() };
        match self.client.put_opts(&path, text.clone().into(), options).await {
            Ok(_) => Ok(marker),
            Err(object_store::Error::Precondition { .. }) => match self.marker().await? {
                Some(marker) => Err(StoreError::foreign(&self.name, marker.installation)),
                None => Err(self.fault(doing, MARKER, Fault::Missing)),
            },
            // See `create`: a service without conditional writes, and an operator who adopts once.
            Err(error) if is_not_implemented(&error) => {
                self.client.put(&path, text.into()).await.map(|_| marker).map_err(self.error(doing, MARKER))
            }
            Err(error) => Err(self.error(doing, MARKER)(error)),
        }
    }
}
