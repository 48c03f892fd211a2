//! Copies as they are read: each by its own rows, since stored bytes and encodings differ from store to store.

use std::sync::Arc;

use shared::{
    db::{objects, saves},
    id::SaveId,
    manifest::{self, Encoding, Manifest},
    name::{Slug, StoreKey},
    save::CopyState,
};
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    handler::JobError,
    store::Store,
    stream::{Blake3, CryptError, Encryption, Expected, ExpectedObject, Objects, Sha256},
};

/// One copy of a save in a store of this worker.
#[derive(Debug, Clone)]
pub struct SavedCopy {
    pub name: Slug,
    pub store: Arc<dyn Store>,
    /// As they were applied, in order.
    pub encodings: Vec<Encoding>,
    /// All its objects, the manifest too, in order of name.
    pub objects: Vec<CopyObject>,
    /// That of the store, as this worker's configuration has it now.
    pub encryption: Option<Arc<Encryption>>,
}

/// One object, as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyObject {
    pub part: String,
    pub key: StoreKey,
    pub stored: ExpectedObject,
    /// Of the whole dump with its first object; none with the others.
    pub raw: Option<(u64, Blake3)>,
}

impl SavedCopy {
    /// The good copies of a save in stores that this worker has, by name of the store.
    pub async fn good(
        conn: &mut PgConnection,
        ctx: &Context,
        save: SaveId,
        manifest: &Manifest,
    ) -> Result<Vec<Self>, JobError> {
        Self::chosen(conn, ctx, save, manifest, |row| row.state == CopyState::Good).await
    }

    /// As [`SavedCopy::good`], those that are wanted.
    pub async fn chosen(
        conn: &mut PgConnection,
        ctx: &Context,
        save: SaveId,
        manifest: &Manifest,
        is_wanted: impl Fn(&saves::CopyRow) -> bool,
    ) -> Result<Vec<Self>, JobError> {
        let mut copies = Vec::new();
        for row in saves::copies(conn, save).await? {
            if is_wanted(&row) {
                copies.extend(Self::of_row(conn, ctx, manifest, row).await?);
            }
        }
        Ok(copies)
    }

    /// The copy that a row speaks of, whatever its state; none if this worker does not have the store.
    pub async fn of_row(
        conn: &mut PgConnection,
        ctx: &Context,
        manifest: &Manifest,
        row: saves::CopyRow,
    ) -> Result<Option<Self>, JobError> {
        let Ok(name) = Slug::parse(row.store) else { return Ok(None) };
        let Some(store) = ctx.stores.get(&name) else { return Ok(None) };
        let objects = objects::of_copy(conn, row.save_id, name.as_str()).await?;
        let objects: Result<Vec<_>, _> = objects.into_iter().map(CopyObject::try_from).collect();
        Ok(Some(Self {
            store: Arc::clone(store),
            encodings: row.encodings.map_or_else(|| manifest.encodings.clone(), |encodings| encodings.0),
            objects: objects?,
            encryption: ctx.encryption(&name).map(Arc::clone),
            name,
        }))
    }

    /// The objects of the dump, in order.
    pub fn dump(&self) -> impl Iterator<Item = &CopyObject> + Clone {
        self.objects.iter().filter(|object| object.part.starts_with(manifest::DUMP))
    }

    /// What reading the dump must give.
    pub fn expected(&self) -> Result<Expected, JobError> {
        let Some((raw_bytes, blake3)) = self.dump().next().and_then(|first| first.raw) else {
            let message = format!("the rows of the copy in store {} name no dump", self.name);
            return Err(JobError::abort("copy_unreadable", message, "Choose another save."));
        };
        let objects = self.dump().map(|object| object.stored).collect();
        Ok(Expected { objects, encodings: self.encodings.clone(), raw_bytes, blake3 })
    }

    /// Refuses what this worker could not read, before anything is begun.
    pub fn require_readable(&self) -> Result<(), JobError> {
        let encrypted = self.encodings.contains(&Encoding::Age);
        if encrypted && !self.encryption.as_ref().is_some_and(|encryption| encryption.can_read()) {
            return Err(CryptError::missing(&self.name).into());
        }
        Ok(())
    }

    /// What is needed to decrypt this copy; none for a plain one.
    pub fn decryption(&self) -> Option<&Encryption> {
        self.encodings.contains(&Encoding::Age).then_some(self.encryption.as_deref()).flatten()
    }

    /// Opens the dump.
    pub async fn open(&self, cancel: &CancellationToken) -> Result<Objects, JobError> {
        self.require_readable()?;
        let keys: Vec<StoreKey> = self.dump().map(|object| object.key.clone()).collect();
        Ok(Objects::open(&self.store, keys, cancel).await?)
    }
}

impl TryFrom<objects::ObjectRow> for CopyObject {
    type Error = JobError;

    fn try_from(row: objects::ObjectRow) -> Result<Self, JobError> {
        let unreadable = |what: &str| {
            JobError::abort(
                "row_unreadable",
                format!("the row of object {} cannot be used: {what}", row.id),
                "This is a fault of Holdfast: report it.",
            )
        };
        let length = |bytes: Option<i64>| bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let digest = |bytes: &Option<Vec<u8>>| bytes.as_deref().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let stored_bytes = length(row.stored_bytes).ok_or_else(|| unreadable("stored_bytes"))?;
        let sha256 = Sha256(digest(&row.sha256).ok_or_else(|| unreadable("sha256"))?);
        Ok(Self {
            key: StoreKey::parse(row.key.clone()).map_err(|error| unreadable(&error.to_string()))?,
            stored: ExpectedObject { stored_bytes, sha256 },
            raw: length(row.raw_bytes).zip(digest(&row.blake3).map(Blake3)),
            part: row.part,
        })
    }
}
