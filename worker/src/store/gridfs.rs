//! The `gridfs` store: a GridFS bucket in a MongoDB. Chunks first, the `fs.files` document last: a key is visible only
//! through that document, so a worker that dies in between leaves nothing readable.
//!
//! Chunks are inserted here and not through the driver's upload stream: that one deletes its chunks when closing fails,
//! also when only the answer was lost, which leaves a visible file without content; and it copies each byte once more.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::bson::{DateTime, Document, RawDocumentBuf, doc};
use mongodb::options::{
    Acknowledgment, ClientOptions, IndexOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database, IndexModel};
use secrecy::{ExposeSecret, SecretString};
use shared::id::InstallationId;
use shared::name::{Slug, StoreKey};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{ByteStream, Fault, Listed, Marker, ReadBack, Removed, Stat, Store, StoreError, Upload, UploadRef};

mod fault;
mod reading;
mod upload;

use fault::from_driver;
use reading::Reading;
use upload::GridFsUpload;

const MARKER_ID: &str = "marker";
/// What one answer of the server may carry when reading; servers other than mongod do not limit it themselves.
const BATCH_BYTES: u32 = 4 << 20;

/// Where a `gridfs` store lies.
#[derive(Debug, Clone)]
pub struct GridFsSettings {
    /// Connection string, with credentials.
    pub uri: SecretString,
    pub database: String,
    /// Prefix of the collections: `fs` gives `fs.files` and `fs.chunks`.
    pub bucket: String,
    /// Bytes per chunk, held to 1–4 MiB.
    pub chunk_bytes: u32,
    pub read_back: ReadBack,
}

/// Objects as GridFS files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GridFsStore {
    name: Slug,
    read_back: ReadBack,
    chunk_bytes: u32,
    files: Collection<Document>,
    chunks: Collection<RawDocumentBuf>,
    own: Collection<Document>,
    indexed: Arc<OnceCell<()>>,
}

impl GridFsStore {
    /// Reads the settings. Nothing is sent before the first operation.
    pub async fn open(name: Slug, settings: &GridFsSettings) -> Result<Self, StoreError> {
        let invalid = |problem: &'static str| {
            // The driver's own words may quote the connection string, and with it the password.
            StoreError::new(&name, "opening", settings.database.as_str(), Fault::Denied).because(problem)
        };
        let mut options = ClientOptions::parse(settings.uri.expose_secret())
            .await
            .map_err(|_| invalid("the connection string cannot be parsed or its hosts cannot be resolved"))?;
        options.app_name.get_or_insert_with(|| "holdfast/store".to_owned());
        options.server_selection_timeout.get_or_insert(std::time::Duration::from_secs(10));
        options.connect_timeout.get_or_insert(std::time::Duration::from_secs(10));
        options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
        options.read_concern = Some(ReadConcern::majority());
        options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
        let client =
            Client::with_options(options).map_err(|_| invalid("the connection string holds contradictory options"))?;
        Ok(Self::on(name, &client.database(&settings.database), settings))
    }

    fn on(name: Slug, database: &Database, settings: &GridFsSettings) -> Self {
        let bucket = &settings.bucket;
        Self {
            name,
            read_back: settings.read_back,
            chunk_bytes: settings.chunk_bytes.clamp(1 << 20, 4 << 20),
            files: database.collection(&format!("{bucket}.files")),
            chunks: database.collection(&format!("{bucket}.chunks")),
            own: database.collection(&format!("{bucket}.holdfast")),
            indexed: Arc::default(),
        }
    }

    fn error(&self, doing: &'static str, place: impl Into<String>) -> impl FnOnce(mongodb::error::Error) -> StoreError {
        let (name, place) = (self.name.clone(), place.into());
        move |source| from_driver(&name, doing, place, source)
    }

    /// The indexes of the GridFS specification: without them reading is a collection scan per chunk.
    async fn ensure_indexes(&self) -> Result<(), StoreError> {
        let make = || async {
            let unique = IndexOptions::builder().unique(true).build();
            let chunks = IndexModel::builder().keys(doc! { "files_id": 1, "n": 1 }).options(unique).build();
            self.chunks.create_index(chunks).await?;
            let files = IndexModel::builder().keys(doc! { "filename": 1, "uploadDate": 1 }).build();
            self.files.create_index(files).await.map(drop)
        };
        self.indexed.get_or_try_init(make).await.map(drop).map_err(self.error("creating the indexes of", ""))
    }

    /// The `fs.files` documents of a key: one, or none.
    async fn find(&self, doing: &'static str, key: &StoreKey) -> Result<Vec<File>, StoreError> {
        let found = async {
            let cursor = self.files.find(doc! { "filename": key.as_str() }).batch_size(100).await?;
            cursor.try_collect::<Vec<_>>().await
        };
        let documents = found.await.map_err(self.error(doing, key.as_str()))?;
        Ok(documents.into_iter().map(File::from).collect())
    }

    async fn drop_chunks(&self, doing: &'static str, files_id: &mongodb::bson::Bson) -> Result<(), StoreError> {
        self.chunks
            .delete_many(doc! { "files_id": files_id })
            .await
            .map(drop)
            .map_err(self.error(doing, files_id.as_str().unwrap_or_default()))
    }
}

/// What is needed of an `fs.files` document. Foreign writers use other number types.
#[derive(Debug)]
struct File {
    id: mongodb::bson::Bson,
    name: String,
    bytes: u64,
    chunk_bytes: u64,
}

impl File {
    /// The chunk that an offset lies in, and the bytes before that chunk.
    fn chunk_of(&self, offset: u64) -> (i64, u64) {
        let first = offset.checked_div(self.chunk_bytes).unwrap_or_default();
        (i64::try_from(first).unwrap_or(i64::MAX), first.saturating_mul(self.chunk_bytes))
    }
}

impl From<Document> for File {
    fn from(mut document: Document) -> Self {
        let number = |name| match document.get(name) {
            Some(mongodb::bson::Bson::Int64(n)) => u64::try_from(*n).unwrap_or_default(),
            Some(mongodb::bson::Bson::Int32(n)) => u64::try_from(*n).unwrap_or_default(),
            _ => 0,
        };
        let (length, chunk_bytes) = (number("length"), number("chunkSize"));
        let name = document.get_str("filename").unwrap_or_default().to_owned();
        Self { id: document.remove("_id").unwrap_or_default(), name, bytes: length, chunk_bytes }
    }
}

#[async_trait]
impl Store for GridFsStore {
    fn name(&self) -> &Slug {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "gridfs"
    }

    fn read_back(&self) -> ReadBack {
        self.read_back
    }

    async fn prepare(&self, _key: &StoreKey) -> Result<UploadRef, StoreError> {
        Ok(UploadRef::generate())
    }

    async fn upload(
        &self,
        key: &StoreKey,
        at: &UploadRef,
        cancel: &CancellationToken,
    ) -> Result<Box<dyn Upload>, StoreError> {
        self.ensure_indexes().await?;
        let used = self.chunks.find_one(doc! { "files_id": at.as_str() }).projection(doc! { "_id": 1 }).await;
        let visible = self.files.find_one(doc! { "_id": at.as_str() }).await;
        let context = "opening an upload for";
        if used.map_err(self.error(context, key.as_str()))?.is_some()
            || visible.map_err(self.error(context, key.as_str()))?.is_some()
        {
            return Err(StoreError::new(&self.name, context, at.as_str(), Fault::Exists));
        }
        Ok(Box::new(GridFsUpload::new(self.clone(), key.clone(), at.clone(), cancel.clone())))
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
        let mut found = self.find("reading", key).await?;
        let Some(file) = found.pop() else {
            return Err(StoreError::new(&self.name, "reading", key.as_str(), Fault::Missing));
        };
        if !found.is_empty() {
            let detail = "several files have this name".to_owned();
            return Err(StoreError::new(&self.name, "reading", key.as_str(), Fault::Corrupt { detail }));
        }
        let batch = (BATCH_BYTES / self.chunk_bytes).max(1);
        let (first, passed) = file.chunk_of(offset);
        let cursor = self
            .chunks
            .find(if first == 0 {
                doc! { "files_id": &file.id }
            } else {
                doc! { "files_id": &file.id, "n": { "$gte": first } }
            })
            .sort(doc! { "n": 1 })
            .batch_size(batch)
            .await
            .map_err(self.error("reading", key.as_str()))?;
        let left = file.bytes.saturating_sub(passed);
        let reading = Reading { store: self.clone(), key: key.clone(), cursor, n: first, left, cancel: cancel.clone() };
        let blocks = stream::try_unfold(reading, Reading::next).boxed();
        Ok(super::without_first(blocks, offset - passed))
    }

    async fn stat(&self, key: &StoreKey) -> Result<Option<Stat>, StoreError> {
        Ok(self.find("looking up", key).await?.first().map(|file| Stat { bytes: file.bytes }))
    }

    async fn delete(&self, key: &StoreKey) -> Result<Removed, StoreError> {
        let found = self.find("deleting", key).await?;
        for file in &found {
            // Chunks first: a deletion that was interrupted is repeated by key, and finds its way by this document.
            self.drop_chunks("deleting", &file.id).await?;
            self.files.delete_one(doc! { "_id": &file.id }).await.map_err(self.error("deleting", key.as_str()))?;
        }
        Ok(if found.is_empty() { Removed::Absent } else { Removed::Deleted })
    }

    async fn discard(&self, _key: &StoreKey, at: &UploadRef) -> Result<(), StoreError> {
        let doing = "discarding upload";
        let committed =
            self.files.find_one(doc! { "_id": at.as_str() }).await.map_err(self.error(doing, at.as_str()))?;
        match committed {
            Some(_) => Ok(()),
            None => self.drop_chunks(doing, &at.as_str().into()).await,
        }
    }

    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let mut filename = doc! {};
        if !prefix.is_empty() {
            filename.insert("$gte", prefix);
            filename.insert("$lt", format!("{prefix}\u{10ffff}"));
        }
        if !after.is_empty() {
            filename.insert("$gt", after);
        }
        let filter = if filename.is_empty() {
            doc! {}
        } else {
            doc! { "filename": filename }
        };
        let found = async {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let cursor = self.files.find(filter).sort(doc! { "filename": 1 }).limit(limit).batch_size(1000).await?;
            cursor.map_ok(File::from).map_ok(|file| Listed { key: file.name, bytes: file.bytes }).try_collect().await
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        found.await.map_err(self.error("listing", prefix))
    }

    async fn marker(&self) -> Result<Option<Marker>, StoreError> {
        let doing = "reading the marker of";
        let Some(found) = self.own.find_one(doc! { "_id": MARKER_ID }).await.map_err(self.error(doing, ""))? else {
            return Ok(None);
        };
        let installation = found.get_str("installation").ok().and_then(|id| id.parse().ok());
        let created_at = found.get_datetime("created_at").ok();
        let created_at = created_at.and_then(|at| chrono::DateTime::from_timestamp_millis(at.timestamp_millis()));
        match (installation, created_at) {
            (Some(installation), Some(created_at)) => Ok(Some(Marker { installation, created_at })),
            _ => Err(StoreError::new(&self.name, doing, "", Fault::Failed).because("the marker is malformed")),
        }
    }

    async fn claim(&self, installation: InstallationId) -> Result<Marker, StoreError> {
        if let Some(marker) = self.marker().await? {
            return Ok(marker);
        }
        let created_at = DateTime::now();
        let marker = doc! { "_id": MARKER_ID, "installation": installation.to_string(), "created_at": created_at };
        match self.own.insert_one(marker).await.map_err(self.error("claiming", "")) {
            // Another worker was faster; what it wrote is read below.
            Err(error) if *error.fault() != Fault::Exists => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let held = self.marker().await?;
        held.ok_or_else(|| StoreError::new(&self.name, "claiming", "", Fault::Failed))
    }

    async fn adopt(&self, from: InstallationId, to: InstallationId) -> Result<Marker, StoreError> {
        let doing = "adopting";
        let expected = doc! { "_id": MARKER_ID, "installation": from.to_string() };
        let change = doc! { "$set": { "installation": to.to_string(), "created_at": DateTime::now() } };
        let replaced = self.own.update_one(expected, change).await.map_err(self.error(doing, ""))?;
        let held = self.marker().await?;
        match held {
            Some(marker) if replaced.matched_count == 1 => Ok(marker),
            Some(marker) => Err(StoreError::foreign(&self.name, marker.installation)),
            None => Err(StoreError::new(&self.name, doing, "", Fault::Missing)),
        }
    }
}
