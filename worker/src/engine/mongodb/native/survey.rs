//! What a dump will hold: the collections that were asked for, with indexes and options.

use futures_util::TryStreamExt as _;
use mongodb::{
    Database,
    bson::{Document, doc},
};
use shared::name::{CollectionName, DatabaseName};

use super::super::{
    super::{DumpOptions, EngineError, ErrorCode, ProbeReport},
    Session,
    archive::{Kind, Metadata, Namespace},
    classify::{failed, is_refusal, is_unknown_command},
    probe::{Listed, list, number},
};

/// Servers from this version on keep time series without buckets that could be read as documents.
const WITHOUT_BUCKETS: u32 = 80_300;
/// A collection that was dropped after it was listed.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// What is dumped.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) collections: Vec<Collection>,
    pub(super) warnings: Vec<String>,
}

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    pub(super) namespace: Namespace,
    /// Of a document, where the server says so.
    pub(super) average_bytes: Option<i64>,
    bytes: i64,
}

impl Survey {
    /// With their numbers in the prelude, the largest first.
    pub(super) fn by_size(self) -> Vec<(usize, Collection)> {
        let mut numbered: Vec<_> = self.collections.into_iter().enumerate().collect();
        numbered.sort_by_key(|(_, collection)| std::cmp::Reverse(collection.bytes));
        numbered
    }
}

pub(super) async fn survey(
    session: &Session,
    name: &DatabaseName,
    options: &DumpOptions,
    probe: &ProbeReport,
) -> Result<Survey, EngineError> {
    let database = session.database(name);
    let chosen = choose(list(&database).await?, options)?;
    let mut survey = Survey { collections: Vec::new(), warnings: Vec::new() };
    for listed in chosen {
        if listed.kind == Kind::Timeseries && probe.server_version_num >= WITHOUT_BUCKETS {
            let problem =
                format!("{:?} is a time series, which this server gives out to its own tools alone", listed.name);
            return Err(EngineError::new(ErrorCode::InvalidRequest, problem)
                .with_hint("set the target's mongo_mode to \"tools\", or exclude the collection"));
        }
        match describe(&database, name, &listed).await? {
            Some(collection) => survey.collections.push(collection),
            None => survey.warnings.push(format!("collection {:?} was dropped while the dump began", listed.name)),
        }
    }
    if survey.collections.is_empty() {
        let problem = format!("nothing is left of database {:?} to dump", name.as_str());
        return Err(EngineError::new(ErrorCode::TableMissing, problem));
    }
    Ok(survey)
}

/// Those that were asked for; each that was named must be there.
fn choose(listed: Vec<Listed>, options: &DumpOptions) -> Result<Vec<Listed>, EngineError> {
    let missing = options.collections.iter().find(|name| !listed.iter().any(|listed| listed.name == name.as_str()));
    if let Some(missing) = missing {
        let problem = format!("the database has no collection {:?}", missing.as_str());
        return Err(EngineError::new(ErrorCode::TableMissing, problem)
            .with_hint("check the collections asked for: names are literal and case-sensitive"));
    }
    let has = |names: &[CollectionName], listed: &Listed| names.iter().any(|name| name.as_str() == listed.name);
    let is_chosen = |listed: &Listed| {
        (options.collections.is_empty() || has(&options.collections, listed))
            && !has(&options.exclude_collections, listed)
    };
    Ok(listed.into_iter().filter(is_chosen).collect())
}

/// None: it is gone.
async fn describe(
    database: &Database,
    name: &DatabaseName,
    listed: &Listed,
) -> Result<Option<Collection>, EngineError> {
    let is_view = listed.kind == Kind::View;
    let indexes = if is_view { Some(Vec::new()) } else { indexes(database, &listed.name).await? };
    let Some(indexes) = indexes else { return Ok(None) };
    let metadata = Metadata {
        options: listed.options.clone(),
        indexes,
        uuid: listed.uuid.clone(),
        collection_name: listed.name.clone(),
        kind: listed.kind.clone(),
    };
    let unwritable = |error| {
        let problem = format!("the metadata of collection {:?} cannot be written", listed.name);
        EngineError::new(ErrorCode::QueryFailed, problem).with_source(error)
    };
    let namespace = Namespace {
        db: name.to_string(),
        collection: listed.name.clone(),
        metadata_json: metadata.to_json().map_err(unwritable)?,
        kind: listed.kind.clone(),
    };
    let (bytes, average_bytes) = if is_view { (0, None) } else { size(database, &namespace.data_collection()).await? };
    Ok(Some(Collection { namespace, average_bytes, bytes }))
}

/// As the server lists them, with all options; None where the collection is gone.
async fn indexes(database: &Database, name: &str) -> Result<Option<Vec<Document>>, EngineError> {
    let what = format!("listing the indexes of collection {name:?}");
    match database.run_cursor_command(doc! { "listIndexes": name, "cursor": {} }).await {
        Ok(cursor) => cursor.try_collect().await.map(Some).map_err(failed(&what)),
        Err(error) if matches!(&*error.kind, mongodb::error::ErrorKind::Command(c) if c.code == NAMESPACE_NOT_FOUND) => {
            Ok(None)
        }
        Err(error) => Err(failed(&what)(error)),
    }
}

/// Bytes of all documents, and of one on average. An estimate: not knowing it costs speed alone.
async fn size(database: &Database, name: &str) -> Result<(i64, Option<i64>), EngineError> {
    match database.run_command(doc! { "collStats": name }).await {
        Ok(stats) => {
            let bytes = number(&stats, "size").unwrap_or_default();
            let count = number(&stats, "count").unwrap_or_default();
            let average = number(&stats, "avgObjSize").or_else(|| (count > 0).then(|| bytes / count));
            Ok((bytes, average.filter(|average| *average > 0)))
        }
        Err(error) if is_refusal(&error) || is_unknown_command(&error) => Ok((0, None)),
        Err(error) => Err(failed(&format!("asking for the size of collection {name:?}"))(error)),
    }
}
