//! Stores: named places for bytes. One trait, one conformance suite that every back end passes, one wrapper that
//! injects faults (design §7).
//!
//! The order of one object: [`Store::prepare`] says where the bytes will lie, the caller commits a row that names that
//! place, [`Store::upload`] writes there, [`Upload::commit`] makes the object visible under its key. A crash before the
//! commit leaves bytes that nobody can read and that [`Store::discard`] removes, given the row.

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use serde::{Deserialize, Serialize};
use shared::id::InstallationId;
use shared::name::{Slug, StoreKey};
use tokio_util::sync::CancellationToken;

#[doc(hidden)]
pub mod conformance;
mod error;
#[cfg(debug_assertions)]
mod failing;
#[doc(hidden)]
pub mod faulty;
mod file;
mod gridfs;
mod s3;

#[cfg(test)]
mod tests;

pub use error::{Fault, StoreError};
#[cfg(debug_assertions)]
pub(crate) use failing::Failing;
pub use file::FileStore;
pub use gridfs::{GridFsSettings, GridFsStore};
pub use s3::S3Store;

/// Whether an object is read back and hashed before it counts as saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadBack {
    /// Every byte is read again from the store.
    #[default]
    Full,
    /// The store's word is taken.
    Off,
}

/// Where an upload puts its bytes: a temporary name (`file`), a `files_id` (`gridfs`), a multipart upload (`s3`). It stands
/// in a row before the first byte is written, so that the bytes can be found whatever happens to the worker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UploadRef(String);

/// What a row holds is no reference to an upload.
#[derive(Debug, thiserror::Error)]
#[error("neither a UUID nor the id of a multipart upload")]
pub struct BadUploadRef;

/// What a reference to a multipart upload begins with.
const MULTIPART: &str = "multipart:";
/// More than any service's ids have, and less than any file system's names.
const MULTIPART_MAX: usize = 2048;

impl UploadRef {
    /// A reference nobody has used.
    fn generate() -> Self {
        Self(uuid::Uuid::now_v7().hyphenated().to_string())
    }

    /// A multipart upload by the id that the service gave it. Ids are opaque: what could mean something in a path is
    /// escaped, which leaves those of the known services as they are.
    fn multipart(id: &str) -> Self {
        let mut text = MULTIPART.to_owned();
        for byte in id.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                text.push('%');
                text.push_str(&hex::encode_upper([byte]));
            }
        }
        Self(text)
    }

    /// The service's id of a multipart upload; none of another kind of upload.
    fn multipart_id(&self) -> Option<String> {
        let mut rest = self.0.strip_prefix(MULTIPART)?.bytes();
        let mut id = Vec::new();
        while let Some(byte) = rest.next() {
            if byte != b'%' {
                id.push(byte);
                continue;
            }
            let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
            id.push(digit(rest.next())? << 4 | digit(rest.next())?);
        }
        String::from_utf8(id).ok().filter(|id| !id.is_empty())
    }

    /// Parses what a row holds; only what [`Store::prepare`] makes is accepted, as it becomes part of a path or a URL.
    pub fn parse(text: &str) -> Result<Self, BadUploadRef> {
        if text.starts_with(MULTIPART) && text.len() <= MULTIPART_MAX {
            let given = Self(text.to_owned());
            let id = given.multipart_id().ok_or(BadUploadRef)?;
            return if Self::multipart(&id) == given { Ok(given) } else { Err(BadUploadRef) };
        }
        text.parse::<uuid::Uuid>().map(|id| Self(id.hyphenated().to_string())).map_err(|_| BadUploadRef)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for UploadRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a store knows about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub bytes: u64,
}

/// A committed object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    pub bytes: u64,
    /// BLAKE3 of the bytes as the store has read them again while they were written; none if they are still to be read.
    pub read_back: Option<blake3::Hash>,
}

/// What a deletion found. Absent is not an error: deletions are repeated until they are known to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    Deleted,
    Absent,
}

/// A visible object, ours or foreign: hence the key is not a [`StoreKey`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
}

/// Which installation a store belongs to. Written once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    pub installation: InstallationId,
    pub created_at: DateTime<Utc>,
}

/// The bytes of one object as they arrive.
pub type ByteStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// Proof that what was written to an upload is the whole object, without which no upload can be committed.
///
/// There are three ways to it: the bytes were all at hand ([`Whole::of_bytes`]), they were a good copy's and matched its
/// record (`of_record`), or the engine's child ended with success
/// (`of_exit`, which only the engine's exited dump calls, design §3.6). A dump whose tool failed therefore cannot
/// become an object: the code does not compile.
#[derive(Debug)]
pub struct Whole {
    bytes: Option<u64>,
}

impl Whole {
    /// The object is `bytes`; the commit checks the length.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self { bytes: Some(bytes.len() as u64) }
    }

    /// The child that wrote the object exited with success. For the engine's `Dump<Exited>` alone.
    pub(crate) fn of_exit() -> Self {
        Self { bytes: None }
    }

    /// The object is `bytes` long and was proven by its record while it was copied from another store.
    pub(crate) fn of_record(bytes: u64) -> Self {
        Self { bytes: Some(bytes) }
    }

    /// The length the object must have, where it is known beforehand.
    fn expected(&self) -> Option<u64> {
        self.bytes
    }
}

/// A named place for bytes. All calls are idempotent except [`Store::upload`], which takes each [`UploadRef`] once.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    fn name(&self) -> &Slug;

    /// `file`, `gridfs` or `s3`.
    fn kind(&self) -> &'static str;

    fn read_back(&self) -> ReadBack;

    /// The most bytes that one object may have; none where any length will do. A longer dump is cut into several.
    fn max_object_bytes(&self) -> Option<u64> {
        None
    }

    /// Looks whether the store is fit for saves as far as a look from outside can tell; what is found is remembered for a
    /// while, and asked for again by [`Store::claim`]. Called at start and by probes.
    async fn inspect(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Decides where the bytes of `key` will lie, without writing any.
    async fn prepare(&self, key: &StoreKey) -> Result<UploadRef, StoreError>;

    /// Opens the upload. Cancelling makes the current and every further write fail with `cancelled`.
    async fn upload(
        &self,
        key: &StoreKey,
        at: &UploadRef,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn Upload>, StoreError>;

    /// The object's bytes in order. A store that notices damage ends the stream with `object_corrupt`; the digests are
    /// the reader's to check.
    async fn read(&self, key: &StoreKey, cancel: &CancellationToken) -> Result<ByteStream, StoreError>;

    /// As [`Store::read`], without the first `offset` bytes; of a shorter object, nothing.
    async fn read_from(
        &self,
        key: &StoreKey,
        offset: u64,
        cancel: &CancellationToken,
    ) -> Result<ByteStream, StoreError> {
        Ok(without_first(self.read(key, cancel).await?, offset))
    }

    /// Whether the object exists, and its length.
    async fn stat(&self, key: &StoreKey) -> Result<Option<Stat>, StoreError>;

    /// Removes the object, durably.
    async fn delete(&self, key: &StoreKey) -> Result<Removed, StoreError>;

    /// Removes what a dead upload left. A committed object is never touched, not even the upload's own: that is
    /// [`Store::delete`]'s.
    async fn discard(&self, key: &StoreKey, at: &UploadRef) -> Result<(), StoreError>;

    /// Up to `limit` visible objects whose key begins with `prefix` and comes after `after` (empty: from the first), in order
    /// of key, foreign ones too.
    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError>;

    /// The first of them.
    async fn list(&self, prefix: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        self.list_after(prefix, "", limit).await
    }

    /// Whose store this is; none if nobody has claimed it.
    async fn marker(&self) -> Result<Option<Marker>, StoreError>;

    /// Claims an unclaimed store and returns the marker that holds **now**: a caller of another installation gets the
    /// first one's and must refuse to write ([`require_ours`]).
    async fn claim(&self, installation: InstallationId) -> Result<Marker, StoreError>;

    /// Replaces the marker of installation `from` by one of `to`, all at once: whoever reads meanwhile sees the one or
    /// the other. Refused when the marker is not that of `from`. Only `holdfast-worker adopt` calls it.
    async fn adopt(&self, from: InstallationId, to: InstallationId) -> Result<Marker, StoreError>;
}

/// An object being written, invisible until committed. Dropped without a commit it stays invisible, and its bytes lie
/// where its [`UploadRef`] says until they are discarded.
#[async_trait]
pub trait Upload: Send + Debug {
    /// Writes the next bytes. After an error the upload can only be aborted.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Says that no bytes will follow, long before the commit: whatever can be done without making the object visible is
    /// done, and what the upload holds (threads, buffers) is given back. A dump of many objects has as many uploads that wait
    /// for the tool's proof.
    async fn end(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes the object durable and visible, all at once. Refused when the key exists. After an error other than
    /// `object_exists` it is unknown whether the object is there: ask [`Store::stat`].
    async fn commit(self: Box<Self>, whole: &Whole) -> Result<Stored, StoreError>;

    /// Removes what was written.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// The stream without its first bytes. Blocks may become empty.
fn without_first(blocks: ByteStream, mut skip: u64) -> ByteStream {
    if skip == 0 {
        return blocks;
    }
    let rest = blocks.map_ok(move |mut block| {
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(block.len());
        skip -= skipped as u64;
        block.split_off(skipped)
    });
    rest.boxed()
}

/// Writes a small object whose bytes are at hand. The row that names `at` must exist.
pub async fn put(
    store: &dyn Store,
    key: &StoreKey,
    at: &UploadRef,
    bytes: Bytes,
    cancel: &CancellationToken,
) -> Result<Stored, StoreError> {
    let whole = Whole::of_bytes(&bytes);
    let mut upload = store.upload(key, at, cancel).await?;
    if let Err(error) = upload.write(bytes).await {
        if let Err(abort) = upload.abort().await {
            tracing::warn!(store = %store.name(), upload = %at, error = %shared::telemetry::Causes(&abort), "aborting a failed upload failed");
        }
        return Err(error);
    }
    upload.commit(&whole).await
}

/// Claims the store if nobody has, and refuses if another installation did.
pub async fn require_ours(store: &dyn Store, installation: InstallationId) -> Result<Marker, StoreError> {
    let marker = store.claim(installation).await?;
    if marker.installation == installation {
        return Ok(marker);
    }
    Err(StoreError::foreign(store.name(), marker.installation))
}

/// Length check of every commit: what the store holds against what was written, and against what had to be.
fn check_length(name: &Slug, key: &StoreKey, found: u64, written: u64, whole: &Whole) -> Result<(), StoreError> {
    let expected = whole.expected().unwrap_or(written);
    if found == written && written == expected {
        return Ok(());
    }
    let detail = format!("{found} bytes lie in the store, {written} were written, the object has {expected}");
    Err(StoreError::new(name, "committing", key.as_str(), Fault::Incomplete { detail }))
}
