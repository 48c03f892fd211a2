//! An object on its way to the disk: written, made durable and read again window by window, while the dump goes on.
//!
//! After the last byte there is little left to wait for, and the disk is busy all the time instead of at the end. What is
//! read again comes from the disk and not from memory: each window's pages are dropped from the cache first.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::Advice;
use shared::name::StoreKey;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::tree::{is_absent, make_dirs, rename_new, sync_dir};
use super::{FileStore, READ_BYTES};
use crate::store::{Fault, ReadBack, StoreError, Stored, Upload, Whole, check_length};

/// Bytes between two flushes: few enough that the last window is soon done, enough that flushing costs nothing.
const WINDOW: u64 = 16 << 20;
/// Windows that may wait for the disk, before the dump does.
const WAITING_WINDOWS: usize = 8;

#[derive(Debug)]
pub(super) struct FileUpload {
    store: FileStore,
    key: StoreKey,
    path: PathBuf,
    temp: PathBuf,
    /// Absent while a write is under way, and for ever if that write was abandoned.
    file: Option<File>,
    /// Absent once it was asked for its result.
    trail: Option<Trail>,
    /// What the trail has read again, once all was written.
    ended: Option<ReadAgain>,
    written: u64,
    /// Up to here the trail was sent.
    sent: u64,
    done: bool,
    cancel: CancellationToken,
}

/// What the thread that followed has read; none if nobody wanted it to.
#[derive(Debug, Clone, Copy)]
struct ReadAgain(Option<blake3::Hash>);

/// The thread that follows the writer.
#[derive(Debug)]
struct Trail {
    /// Ends of windows, in bytes from the start.
    windows: Sender<u64>,
    followed: JoinHandle<io::Result<Option<blake3::Hash>>>,
}

impl FileUpload {
    /// `file` is the temporary file, new and empty, twice: for the writer and for the thread that follows it.
    pub(super) fn new(
        store: FileStore,
        key: StoreKey,
        path: PathBuf,
        temp: PathBuf,
        (file, followed): (File, File),
        cancel: CancellationToken,
    ) -> Self {
        let (windows, ends) = mpsc::channel(WAITING_WINDOWS);
        let read_back = store.read_back;
        let trail = Trail { windows, followed: spawn_blocking(move || follow(&followed, ends, read_back)) };
        Self {
            store,
            key,
            path,
            temp,
            file: Some(file),
            trail: Some(trail),
            ended: None,
            written: 0,
            sent: 0,
            done: false,
            cancel,
        }
    }

    fn take_file(&mut self, doing: &'static str) -> Result<File, StoreError> {
        let fault = if self.cancel.is_cancelled() { Fault::Cancelled } else { Fault::Failed };
        if fault == Fault::Failed
            && let Some(file) = self.file.take()
        {
            return Ok(file);
        }
        Err(StoreError::new(&self.store.name, doing, self.key.as_str(), fault))
    }

    /// Hands what was written so far to the trail.
    async fn flush(&mut self) -> Result<(), StoreError> {
        self.sent = self.written;
        let sent = match &self.trail {
            Some(trail) => trail.windows.send(self.sent).await.is_ok(),
            None => false,
        };
        // It has ended before its time, and knows why.
        if sent { Ok(()) } else { self.followed().await.map(drop) }
    }

    /// Waits until all that was handed over lies on the disk and was read again.
    async fn followed(&mut self) -> Result<Option<blake3::Hash>, StoreError> {
        let error = |source| StoreError::io(&self.store.name, "flushing", self.key.as_str(), source);
        let Some(Trail { windows, followed }) = self.trail.take() else {
            return Err(error(io::Error::other("the upload has failed before")));
        };
        drop(windows);
        followed.await.unwrap_or_else(|died| Err(io::Error::other(died))).map_err(error)
    }
}

/// Makes windows durable, and reads them again if asked to; the digest of all that was read.
fn follow(file: &File, mut ends: Receiver<u64>, read_back: ReadBack) -> io::Result<Option<blake3::Hash>> {
    let mut hash = blake3::Hasher::new();
    let mut block = Vec::new();
    let mut from = 0;
    while let Some(end) = ends.blocking_recv() {
        file.sync_data()?;
        if read_back == ReadBack::Off {
            continue;
        }
        forget(file, from, end);
        block.resize(READ_BYTES, 0);
        let start = from;
        while from < end {
            let len = usize::try_from(end - from).unwrap_or(READ_BYTES).min(READ_BYTES);
            let Some(piece) = block.get_mut(..len) else { break };
            file.read_exact_at(piece, from)?;
            hash.update(piece);
            from += len as u64;
        }
        // Nobody needs these pages soon, and the database that is being dumped may.
        forget(file, start, end);
    }
    Ok((read_back == ReadBack::Full).then(|| hash.finalize()))
}

/// Drops clean pages from the cache. Where that is not done the read-back reads memory: less of a proof, no failure.
fn forget(file: &File, from: u64, end: u64) {
    rustix::fs::fadvise(file, from, std::num::NonZeroU64::new(end - from), Advice::DontNeed).ok();
}

#[async_trait]
impl Upload for FileUpload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let mut file = self.take_file("writing")?;
        let len = bytes.len() as u64;
        let file = self
            .store
            .blocking("writing", self.key.to_string(), move |_| file.write_all(&bytes).map(|()| file))
            .await?;
        self.written += len;
        if self.written - self.sent >= WINDOW {
            self.flush().await?;
        }
        self.file = Some(file);
        Ok(())
    }

    async fn end(&mut self) -> Result<(), StoreError> {
        let file = self.take_file("flushing")?;
        if self.ended.is_none() {
            if self.written > self.sent {
                self.flush().await?;
            }
            self.ended = Some(ReadAgain(self.followed().await?));
        }
        self.file = Some(file);
        Ok(())
    }

    async fn commit(mut self: Box<Self>, whole: &Whole) -> Result<Stored, StoreError> {
        self.end().await?;
        let read_back = self.ended.and_then(|ended| ended.0);
        let file = self.take_file("committing")?;
        let (found, file) = self
            .store
            .blocking("committing", self.key.to_string(), move |_| {
                file.sync_all()?;
                Ok((file.metadata()?.len(), file))
            })
            .await?;
        check_length(&self.store.name, &self.key, found, self.written, whole)?;
        let (temp, path) = (self.temp.clone(), self.path.clone());
        self.store
            .blocking("committing", self.key.to_string(), move |store| {
                drop(file);
                let parent = path.parent().unwrap_or(&store.root).to_owned();
                // A deletion in the same tree may prune a directory between its making and the rename.
                for _ in 0..3 {
                    make_dirs(&store.root, &parent)?;
                    match rename_new(&temp, &path) {
                        Err(error) if is_absent(&error) && temp.exists() => {}
                        other => return other.and_then(|()| sync_dir(&parent)),
                    }
                }
                Err(io::Error::other("the directory vanishes as soon as it is made"))
            })
            .await?;
        self.done = true;
        Ok(Stored { bytes: self.written, read_back })
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StoreError> {
        self.done = true;
        self.file = None;
        self.trail = None;
        let temp = self.temp.clone();
        self.store
            .blocking("aborting", self.key.to_string(), move |_| match fs::remove_file(&temp) {
                Err(error) if is_absent(&error) => Ok(()),
                other => other,
            })
            .await
    }
}

impl Drop for FileUpload {
    fn drop(&mut self) {
        if !self.done {
            tracing::warn!(store = %self.store.name, key = %self.key, temp = %self.temp.display(), "upload dropped before its commit, its temporary file stays until gc");
        }
    }
}
