//! One collection: batch after batch of raw documents.

use crc64fast::Digest;
use futures_util::StreamExt as _;
use mongodb::{
    Database,
    bson::{RawBsonRef, RawDocumentBuf, doc},
    error::Error,
};

use super::{
    super::{super::EngineError, archive::Kind, classify::failed},
    budget::{Appetite, Budget},
    output::Output,
    survey::Collection,
};

/// What a batch should have: a request for each costs a round trip, and all of it is in memory.
const BATCH_BYTES: i64 = 1024 * 1024;
const MOST_DOCUMENTS: i64 = 10_000;
/// Where the size of documents is not known: servers other than mongod send what is asked for, and the driver takes 48 MB.
const FEW_DOCUMENTS: u32 = 2;

/// Writes the documents of a collection, or of a view none, and its end.
pub(super) async fn dump(
    database: &Database,
    namespace: usize,
    collection: &Collection,
    output: &Output,
    budget: &Budget,
) -> Result<(), EngineError> {
    let mut crc = Digest::new();
    if collection.namespace.kind != Kind::View {
        documents(database, namespace, collection, output, budget, &mut crc).await?;
    }
    output.end_of(namespace, crc.sum64()).await
}

async fn documents(
    database: &Database,
    namespace: usize,
    collection: &Collection,
    output: &Output,
    budget: &Budget,
    crc: &mut Digest,
) -> Result<(), EngineError> {
    let name = collection.namespace.data_collection();
    let what = format!("reading collection {name:?}");
    let failed = |error: Error| failed(&what)(error);
    let mut appetite = Appetite::default();
    let mut room = budget.take(&appetite).await;
    let all = database.collection::<RawDocumentBuf>(&name);
    let find = all.find(doc! {}).batch_size(batch_size(collection.average_bytes));
    let mut batches = find.batch().await.map_err(failed)?;
    loop {
        let Some(batch) = batches.next().await else { return Ok(()) };
        let batch = batch.map_err(failed)?;
        let mut documents = Vec::new();
        for document in batch.doc_slices().map_err(failed)? {
            match document {
                Ok(RawBsonRef::Document(document)) => documents.push(document.as_bytes()),
                Ok(_) => return Err(failed(Error::custom("the server's answer holds something that is no document"))),
                Err(error) => return Err(failed(Error::custom(error))),
            }
        }
        for document in &documents {
            crc.write(document);
        }
        let (bytes, largest) =
            documents.iter().fold((0, 0), |(bytes, largest), d| (bytes + d.len(), d.len().max(largest)));
        output.documents(namespace, &documents).await?;
        appetite.saw(bytes, largest);
        // The next batch is asked for when there is room, and this one gone.
        drop(documents);
        drop(batch);
        drop(room.take());
        room = budget.take(&appetite).await;
    }
}

/// Documents per batch, from what one has on average.
fn batch_size(average_bytes: Option<i64>) -> u32 {
    let fitting = average_bytes.map(|bytes| (BATCH_BYTES / bytes.max(1)).clamp(1, MOST_DOCUMENTS));
    fitting.and_then(|documents| u32::try_from(documents).ok()).unwrap_or(FEW_DOCUMENTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_fit_the_documents() {
        assert_eq!(batch_size(Some(100)), 10_000);
        assert_eq!(batch_size(Some(2048)), 512);
        assert_eq!(batch_size(Some(16 * 1024 * 1024)), 1);
        assert_eq!(batch_size(Some(0)), 10_000);
        assert_eq!(batch_size(None), FEW_DOCUMENTS);
    }
}
