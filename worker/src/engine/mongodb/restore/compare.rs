//! What was written, read again: it must be what the archive had, document for document.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use mongodb::{
    Database,
    bson::{RawDocumentBuf, doc},
};

use super::{
    fault::failed,
    load::{Collection, Loaded},
    tally::Tally,
};
use crate::engine::{EngineError, ErrorCode};

/// So many collections are read at once.
const READERS: usize = 3;
/// What one answer of the server may carry; servers other than mongod do not limit it themselves.
const ANSWER_BYTES: u64 = 2 << 20;
const MOST_DOCUMENTS: u64 = 1000;

/// Reads every collection and compares; without `by_digest` only the number of documents. Warnings, where a difference is in
/// the nature of the collection.
pub async fn compare(database: &Database, loaded: &Loaded, by_digest: bool) -> Result<Vec<String>, EngineError> {
    let all: Vec<_> = loaded.collections.iter().map(|collection| one(database, collection, by_digest)).collect();
    let warnings: Vec<Option<String>> = stream::iter(all).buffer_unordered(READERS).try_collect().await?;
    Ok(warnings.into_iter().flatten().collect())
}

async fn one(database: &Database, collection: &Collection, by_digest: bool) -> Result<Option<String>, EngineError> {
    let expected = collection.tally;
    let found = if by_digest {
        read(database, &collection.staged, expected).await?
    } else {
        Tally { documents: count(database, &collection.staged).await?, ..expected }
    };
    if found == expected {
        return Ok(None);
    }
    let name = &collection.name;
    if collection.is_capped && found.documents < expected.documents {
        let dropped = expected.documents - found.documents;
        return Ok(Some(format!(
            "capped collection {name:?} is full without the oldest {dropped} document(s) of the save: this server counts its size differently"
        )));
    }
    let difference = if (found.documents, found.bytes) == (expected.documents, expected.bytes) {
        "and their contents differ".to_owned()
    } else {
        format!("and the save has {} of {} bytes", expected.documents, expected.bytes)
    };
    Err(EngineError::new(
        ErrorCode::InventoryMismatch,
        format!(
            "collection {name:?} came out with {} document(s) of {} bytes, {difference}",
            found.documents, found.bytes
        ),
    ))
}

/// Counts a collection as the server does: it reads all, and sends nothing.
async fn count(database: &Database, name: &str) -> Result<u64, EngineError> {
    let documents = database.collection::<RawDocumentBuf>(name);
    documents.count_documents(doc! {}).await.map_err(failed(format!("counting collection {name:?}")))
}

/// Counts a collection by reading it.
pub async fn read(database: &Database, name: &str, expected: Tally) -> Result<Tally, EngineError> {
    let doing = || failed(format!("reading collection {name:?}"));
    let average = expected.bytes.checked_div(expected.documents).unwrap_or_default().max(1);
    let batch = u32::try_from((ANSWER_BYTES / average).clamp(1, MOST_DOCUMENTS)).unwrap_or(1);
    let documents = database.collection::<RawDocumentBuf>(name);
    let mut cursor = documents.find(doc! {}).batch_size(batch).await.map_err(doing())?;
    let mut found = Tally::default();
    while cursor.advance().await.map_err(doing())? {
        found.add(Tally::of(cursor.current().as_bytes()));
    }
    Ok(found)
}
