//! The `file` store: a directory. An object is written to `.tmp/<upload>`, made durable, and renamed to its key without
//! replacing anything, so that a key names either a whole object or nothing.
//!
//! Temporary files are removed by [`Store::discard`], driven by rows, never by age or at start: another worker may be
//! writing into the same directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::BytesMut;
use futures_util::{StreamExt, stream};
use shared::id::InstallationId;
use shared::name::{Slug, StoreKey};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::{ByteStream, Fault, Listed, Marker, ReadBack, Removed, Stat, Store, StoreError, Upload, UploadRef};

mod tree;
mod upload;

use tree::{create_whole, is_absent, make_dirs, sync_dir, walk};
use upload::FileUpload;

const TMP: &str = ".tmp";
const MARKER: &str = ".holdfast-store.json";
const READ_BYTES: usize = 1 << 20;

/// Objects as files under one directory.
#[derive(Debug, Clone)]
pub struct FileStore {
    name: Slug,
    root: PathBuf,
    read_back: ReadBack,
}

impl FileStore {
    /// Opens the store. The directory must exist: creating it would fill the disk below a mount point whose disk is
    /// not mounted.
    pub async fn open(name: Slug, root: PathBuf, read_back: ReadBack) -> Result<Self, StoreError> {
        let store = Self { name, root, read_back };
        store
            .blocking("opening", String::new(), |store| {
                if !store.root.is_dir() {
                    return Err(io::Error::new(io::ErrorKind::NotConnected, "the directory does not exist"));
                }
                make_dirs(&store.root, &store.root.join(TMP))
            })
            .await?;
        Ok(store)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        doing: &'static str,
        place: String,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let done = spawn_blocking(move || work(&store)).await.unwrap_or_else(|died| Err(io::Error::other(died)));
        done.map_err(|source| {
            let shown = if place.is_empty() { self.root.display().to_string() } else { place };
            StoreError::io(&self.name, doing, shown, source)
        })
    }

    fn temp(&self, at: &UploadRef) -> PathBuf {
        self.root.join(TMP).join(at.as_str())
    }

    fn path(&self, key: &StoreKey) -> Result<PathBuf, StoreError> {
        if key.as_str().starts_with('.') {
            return Err(StoreError::new(&self.name, "naming", key.as_str(), Fault::Reserved));
        }
        Ok(self.root.join(key.as_str()))
    }
}

#[async_trait]
impl Store for FileStore {
    fn name(&self) -> &Slug {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "file"
    }

    fn read_back(&self) -> ReadBack {
        self.read_back
    }

    async fn prepare(&self, key: &StoreKey) -> Result<UploadRef, StoreError> {
        self.path(key)?;
        Ok(UploadRef::generate())
    }

    async fn upload(
        &self,
        key: &StoreKey,
        at: &UploadRef,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn Upload>, StoreError> {
        let (path, temp) = (self.path(key)?, self.temp(at));
        let open = temp.clone();
        let file = self
            .blocking("opening an upload for", key.to_string(), move |_| {
                let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&open)?;
                Ok((file.try_clone()?, file))
            })
            .await?;
        Ok(Box::new(FileUpload::new(self.clone(), key.clone(), path, temp, file, cancel.clone())))
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
        let open = move |_: &Self| {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        };
        let file = self.blocking("reading", key.to_string(), open).await?;
        let (store, key, cancel) = (self.clone(), key.clone(), cancel.clone());
        let blocks = stream::try_unfold(Some(file), move |file| {
            let (store, place, cancel) = (store.clone(), key.to_string(), cancel.clone());
            async move {
                let Some(mut file) = file else { return Ok(None) };
                if cancel.is_cancelled() {
                    return Err(StoreError::new(&store.name, "reading", place, Fault::Cancelled));
                }
                let (file, block) = store
                    .blocking("reading", place, move |_| {
                        let mut block = BytesMut::zeroed(READ_BYTES);
                        let mut len = 0;
                        while let Some(spare) = block.get_mut(len..).filter(|spare| !spare.is_empty()) {
                            match file.read(spare) {
                                Ok(0) => break,
                                Ok(n) => len += n,
                                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                                Err(error) => return Err(error),
                            }
                        }
                        block.truncate(len);
                        Ok((file, block.freeze()))
                    })
                    .await?;
                Ok(if block.is_empty() { None } else { Some((block, Some(file))) })
            }
        });
        Ok(blocks.boxed())
    }

    async fn stat(&self, key: &StoreKey) -> Result<Option<Stat>, StoreError> {
        let path = self.path(key)?;
        self.blocking("looking up", key.to_string(), move |store| {
            // Without its root the store is not mounted, which says nothing about the object.
            match fs::symlink_metadata(&path) {
                Ok(meta) if meta.is_file() => Ok(Some(Stat { bytes: meta.len() })),
                Ok(_) => Ok(None),
                Err(error) if is_absent(&error) => store.require_root().map(|()| None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn delete(&self, key: &StoreKey) -> Result<Removed, StoreError> {
        let path = self.path(key)?;
        self.blocking("deleting", key.to_string(), move |store| match fs::remove_file(&path) {
            Ok(()) => {
                if let Some(parent) = path.parent() {
                    sync_dir(parent)?;
                    store.prune(parent);
                }
                Ok(Removed::Deleted)
            }
            Err(error) if is_absent(&error) => store.require_root().map(|()| Removed::Absent),
            Err(error) => Err(error),
        })
        .await
    }

    async fn discard(&self, _key: &StoreKey, at: &UploadRef) -> Result<(), StoreError> {
        let temp = self.temp(at);
        self.blocking("discarding upload", at.to_string(), move |store| match fs::remove_file(&temp) {
            Err(error) if is_absent(&error) => store.require_root(),
            other => other,
        })
        .await
    }

    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.blocking("listing", prefix.clone(), move |store| {
            store.require_root()?;
            let mut found = Vec::new();
            walk(&store.root, "", (&prefix, &after), limit, &mut found)?;
            Ok(found)
        })
        .await
    }

    async fn marker(&self) -> Result<Option<Marker>, StoreError> {
        self.blocking("reading the marker of", String::new(), |store| {
            store.require_root()?;
            match fs::read(store.root.join(MARKER)) {
                Ok(text) => serde_json::from_slice(&text).map(Some).map_err(io::Error::other),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn claim(&self, installation: InstallationId) -> Result<Marker, StoreError> {
        if let Some(marker) = self.marker().await? {
            return Ok(marker);
        }
        let marker = Marker { installation, created_at: chrono::Utc::now() };
        let temp = self.temp(&UploadRef::generate());
        self.blocking("claiming", String::new(), move |store| {
            let text = serde_json::to_vec(&marker).map_err(io::Error::other)?;
            match create_whole(&store.root.join(MARKER), &text, &temp) {
                Ok(()) => sync_dir(&store.root),
                // Another worker was faster; what it wrote is read below.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await?;
        let held = self.marker().await?;
        held.ok_or_else(|| StoreError::new(&self.name, "claiming", MARKER, Fault::Failed))
    }

    async fn adopt(&self, from: InstallationId, to: InstallationId) -> Result<Marker, StoreError> {
        let held = self.marker().await?;
        let Some(held) = held else { return Err(StoreError::new(&self.name, "adopting", MARKER, Fault::Missing)) };
        if held.installation != from {
            return Err(StoreError::foreign(&self.name, held.installation));
        }
        let marker = Marker { installation: to, created_at: chrono::Utc::now() };
        let temp = self.temp(&UploadRef::generate());
        self.blocking("adopting", String::new(), move |store| {
            match write_new(&temp, &marker).and_then(|()| fs::rename(&temp, store.root.join(MARKER))) {
                Ok(()) => sync_dir(&store.root),
                Err(error) => fs::remove_file(&temp).and(Err(error)),
            }
        })
        .await?;
        Ok(marker)
    }
}

/// Writes a marker to a file that is not there yet, durably.
fn write_new(path: &Path, marker: &Marker) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    serde_json::to_writer(&mut file, marker).map_err(io::Error::other)?;
    file.sync_all()
}

impl FileStore {
    fn require_root(&self) -> io::Result<()> {
        if self.root.join(TMP).is_dir() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotConnected, "the store's directory is gone or not mounted"))
    }

    /// Removes directories that a deletion left empty. One that is not empty stays, which is why errors are of no
    /// interest here.
    fn prune(&self, mut dir: &Path) {
        while dir != self.root && fs::remove_dir(dir).is_ok() {
            let Some(parent) = dir.parent() else { return };
            dir = parent;
        }
    }
}
