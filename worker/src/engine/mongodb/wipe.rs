//! Emptying a `MongoDB` database: documents are deleted batch by batch, so that indexes and options stay. Where documents cannot
//! be deleted, of capped collections and time series, the collection is dropped and made again as it was. Nothing holds the
//! collections together: what was begun is brought to its end by whoever comes next.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::TryStreamExt as _;
use mongodb::{
    Database,
    bson::{Bson, Document, doc},
};
use shared::{
    job::{Emptied, Made},
    wipe::KeepPattern,
};

use super::{
    super::{EngineError, ErrorCode},
    classify::{failed, is_refusal, is_unknown_command},
    probe::number,
    restore::{
        Survey,
        index::{cleaned, comes_by_itself},
        load::NOT_FOR_CREATE,
        survey::{Found, drop_collection, sharded},
    },
};

/// Documents of one command. The ids alone are fetched.
const BATCH: i64 = 1000;
/// How often a collection is dropped again that an application makes anew, without its options, before we do.
const TRIES: usize = 20;

/// A collection, and how many documents the server says that it has.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub emptied: Emptied,
    pub documents: Option<i64>,
    pub bytes: Option<i64>,
}

/// What a wipe does.
#[derive(Debug, Clone, Default)]
pub struct WipePlan {
    pub collections: Vec<Planned>,
    /// By a pattern.
    pub kept: Vec<String>,
    /// They hold nothing of their own.
    pub views: Vec<String>,
    /// What restores have put aside: it goes when its time is over.
    pub asides: usize,
}

/// What became of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    Deleted(u64),
    /// There was nothing left.
    Empty,
}

/// Looks; nothing is written.
pub async fn plan(database: &Database, keep: &[KeepPattern]) -> Result<WipePlan, EngineError> {
    let survey = Survey::of(database).await?;
    let mut plan = WipePlan {
        views: survey.views().map(|(name, _)| name.to_owned()).collect(),
        asides: survey.ours().count(),
        ..WipePlan::default()
    };
    for (name, found) in survey.theirs().filter(|(_, found)| found.kind != "view") {
        if keep.iter().any(|pattern| pattern.matches(name)) {
            plan.kept.push(name.to_owned());
            continue;
        }
        let made = if must_be_made(found) { Some(made(database, name, found).await?) } else { None };
        let (documents, bytes) = size(database, name, found).await?;
        plan.collections.push(Planned { emptied: Emptied { name: name.to_owned(), made }, documents, bytes });
    }
    let makes = |one: &Planned| one.emptied.made.is_some();
    if plan.collections.iter().any(makes)
        && let Some(name) = sharded(database).await?
    {
        let why = format!(
            "collection {name:?} is sharded: capped collections and time series of this database cannot be made anew"
        );
        return Err(
            EngineError::new(ErrorCode::CollectionUnsupported, why).with_hint("keep them, and empty them by hand")
        );
    }
    Ok(plan)
}

/// Whether the server lets nobody delete single documents of it.
fn must_be_made(found: &Found) -> bool {
    found.kind == "timeseries" || found.options.get_bool("capped").unwrap_or_default()
}

async fn made(database: &Database, name: &str, found: &Found) -> Result<Made, EngineError> {
    let what = format!("listing the indexes of collection {name:?}");
    let listed = database.run_cursor_command(doc! { "listIndexes": name }).await.map_err(failed(&what))?;
    let listed: Vec<Document> = listed.try_collect().await.map_err(failed(&what))?;
    let indexes: Vec<Document> = listed.iter().filter(|index| !comes_by_itself(index)).map(cleaned).collect();
    let options: Document = found
        .options
        .iter()
        .filter(|(key, _)| !NOT_FOR_CREATE.contains(&key.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    Ok(Made { uuid: found.uuid.clone(), options: packed(&options)?, indexes: packed(&doc! { "indexes": indexes })? })
}

fn packed(document: &Document) -> Result<String, EngineError> {
    document.to_vec().map(|bytes| STANDARD.encode(bytes)).map_err(|error| unreadable().with_source(error))
}

fn unpacked(text: &str) -> Result<Document, EngineError> {
    let bytes = STANDARD.decode(text).map_err(|error| unreadable().with_source(error))?;
    Document::from_reader(bytes.as_slice()).map_err(|error| unreadable().with_source(error))
}

fn unreadable() -> EngineError {
    EngineError::new(ErrorCode::Internal, "the definition of a collection could not be kept")
}

/// Documents and bytes, by the server's own statistics.
async fn size(database: &Database, name: &str, found: &Found) -> Result<(Option<i64>, Option<i64>), EngineError> {
    match database.run_command(doc! { "collStats": name }).await {
        Ok(stats) => {
            // Of a time series the server counts buckets.
            let count = number(&stats, "count").filter(|_| found.kind != "timeseries");
            Ok((count, number(&stats, "size")))
        }
        Err(error) if is_refusal(&error) || is_unknown_command(&error) => Ok((None, None)),
        Err(error) => Err(failed(&format!("asking for the size of collection {name:?}"))(error)),
    }
}

/// Deletes some documents: those whose ids it has read first, so that nothing is deleted twice that came later.
pub async fn delete_batch(database: &Database, name: &str) -> Result<Batch, EngineError> {
    let what = format!("deleting the documents of collection {name:?}");
    let find = doc! { "find": name, "projection": { "_id": 1 }, "limit": BATCH, "batchSize": BATCH };
    let found = database.run_cursor_command(find).await.map_err(failed(&what))?;
    let found: Vec<Document> = found.try_collect().await.map_err(failed(&what))?;
    if found.is_empty() {
        return Ok(Batch::Empty);
    }
    let ids: Vec<Bson> = found.into_iter().filter_map(|mut document| document.remove("_id")).collect();
    let delete = doc! {
        "delete": name, "deletes": [{ "q": { "_id": { "$in": ids } }, "limit": 0 }], "writeConcern": { "w": "majority" },
    };
    let answer = database.run_command(delete).await.map_err(failed(&what))?;
    if let Some(Bson::Document(refused)) = answer.get_array("writeErrors").ok().and_then(|all| all.first()) {
        let code =
            if number(refused, "code") == Some(13) { ErrorCode::PermissionDenied } else { ErrorCode::QueryFailed };
        return Err(EngineError::new(
            code,
            format!("{what} failed: {}", refused.get_str("errmsg").unwrap_or("refused")),
        ));
    }
    let deleted = u64::try_from(number(&answer, "n").unwrap_or_default()).unwrap_or_default();
    Ok(Batch::Deleted(deleted))
}

/// Drops the collection and makes it again, empty; once that is done it is not done again, where the server tells collections
/// apart.
pub async fn make_anew(
    database: &Database,
    name: &str,
    made: &Made,
    dropped: impl Fn() + Sync,
) -> Result<(), EngineError> {
    let what = format!("making collection {name:?} anew");
    let options = unpacked(&made.options)?;
    let mut tries = 0;
    loop {
        let survey = Survey::of(database).await?;
        let is_made = |found: &Found| {
            made.uuid.is_some() && found.uuid.is_some() && found.uuid != made.uuid && same(&found.options, &options)
        };
        if survey.get(name).is_some_and(is_made) {
            break;
        }
        drop_collection(database, name).await?;
        dropped();
        let mut create = doc! { "create": name };
        create.extend(options.clone());
        create.insert("writeConcern", doc! { "w": "majority" });
        match database.run_command(create).await {
            Ok(_) => break,
            // An application has written to it in between, and so made it without its options.
            Err(error) if tries < TRIES && Survey::of(database).await?.has(name) => {
                tries += 1;
                tracing::debug!(%error, collection = name, "an application was first to make it; it is dropped again");
            }
            Err(error) => return Err(failed(&what)(error)),
        }
    }
    let indexes = unpacked(&made.indexes)?;
    if indexes.get_array("indexes").is_ok_and(|all| !all.is_empty()) {
        let mut create = doc! { "createIndexes": name };
        create.extend(indexes);
        create.insert("writeConcern", doc! { "w": "majority" });
        database.run_command(create).await.map_err(failed(&what))?;
    }
    Ok(())
}

/// Whether a collection has the options that it is to have; servers list them with more or in another order.
fn same(found: &Document, wanted: &Document) -> bool {
    wanted.iter().all(|(key, value)| found.get(key) == Some(value))
}

/// Which of them still hold documents.
pub async fn left(database: &Database, names: &[Emptied]) -> Result<Vec<String>, EngineError> {
    let mut left = Vec::new();
    for Emptied { name, .. } in names {
        let what = format!("looking into collection {name:?}");
        let find = doc! { "find": name, "projection": { "_id": 1 }, "limit": 1_i64, "batchSize": 1_i64 };
        let found = database.run_cursor_command(find).await.map_err(failed(&what))?;
        let found: Vec<Document> = found.try_collect().await.map_err(failed(&what))?;
        if !found.is_empty() {
            left.push(name.clone());
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(kind: &str, options: Document) -> Found {
        Found { kind: kind.to_owned(), options, uuid: None }
    }

    #[test]
    fn what_no_document_can_be_deleted_from_is_made_anew() {
        assert!(!must_be_made(&found("collection", doc! {})));
        assert!(!must_be_made(&found("collection", doc! { "capped": false })));
        assert!(must_be_made(&found("collection", doc! { "capped": true, "size": 4096 })));
        assert!(must_be_made(&found("timeseries", doc! { "timeseries": { "timeField": "at" } })));
    }

    #[test]
    fn definitions_are_kept_to_the_order_of_their_keys() {
        let options = doc! { "timeseries": { "timeField": "at", "metaField": "m" }, "expireAfterSeconds": 60_i64 };
        assert_eq!(unpacked(&packed(&options).unwrap()).unwrap().to_vec().unwrap(), options.to_vec().unwrap());
        let index = doc! { "v": 2, "key": { "z": 1, "a": -1 }, "name": "za", "ns": "shop.lots", "background": true };
        assert_eq!(cleaned(&index), doc! { "v": 2, "key": { "z": 1, "a": -1 }, "name": "za" });
        assert!(comes_by_itself(&doc! { "key": { "_id": 1 } }) && !comes_by_itself(&doc! { "key": { "_id": -1 } }));
        assert!(same(&doc! { "capped": true, "size": 4096, "max": 7 }, &doc! { "size": 4096, "capped": true }));
        assert!(!same(&doc! {}, &doc! { "capped": true }));
    }
}
