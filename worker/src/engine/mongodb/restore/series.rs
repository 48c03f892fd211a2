//! Time series. MongoDB renames none, so one cannot wait under a name of ours: it is filled under its own, which nothing may
//! have. A marker beside it, a collection whose name tells the job, says whose it is and which (by the UUID of its buckets) until
//! the job is done; what has a marker counts as ours, and goes with its job.

use mongodb::{
    Database,
    bson::{Bson, Document, RawDocumentBuf, doc},
};
use shared::failpoint;
use uuid::Uuid;

use super::{
    fault::failed,
    load::NOT_FOR_CREATE,
    names::Own,
    survey::{Survey, drop_collection},
};
use crate::engine::{
    EngineError, ErrorCode,
    mongodb::{archive::BUCKETS, probe::number},
};

/// Documents older than that are deleted, from the moment on in which the series has this option.
const EXPIRY: &str = "expireAfterSeconds";

/// A time series that is restored.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The marker's name.
    pub marker: String,
    /// What it gets when all is there, and compared.
    pub expiry: Option<Bson>,
}

/// What a marker says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// The series' name.
    pub(super) series: String,
    /// None: whether it was made is not known.
    pub(super) made: Option<Made>,
}

/// A series that was made. Its buckets' UUID, where the server tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made(pub(super) Option<String>);

/// The collection in which the server keeps a series' documents.
pub(super) fn buckets(series: &str) -> String {
    format!("{BUCKETS}{series}")
}

/// What the options of one say of it.
pub(super) fn expiry(options: &Document) -> Option<Bson> {
    options.get(EXPIRY).filter(|value| **value != Bson::Null).cloned()
}

/// Makes it, empty, and its marker first. It does not expire yet.
pub(super) async fn make(
    database: &Database,
    series: &Series,
    name: &str,
    options: Document,
) -> Result<(), EngineError> {
    let marker = series.marker.as_str();
    let announce = doc! {
        "insert": marker, "documents": [{ "_id": 1, "series": name }], "writeConcern": { "w": "majority" },
    };
    database.run_command(announce).await.map_err(failed("marking a time series"))?;
    failpoint!("mongo.series.marked");
    let mut create = doc! { "create": name };
    let wanted = |key: &str| key != EXPIRY && !NOT_FOR_CREATE.contains(&key);
    create.extend(options.into_iter().filter(|(key, _)| wanted(key)));
    create.insert("writeConcern", doc! { "w": "majority" });
    if let Err(error) = database.run_command(create).await {
        let error = failed(format!("creating time series {name:?}"))(error);
        if error.code() != ErrorCode::CollectionExists {
            return Err(error);
        }
        // It is somebody's, so that nothing may say that it is ours.
        drop_collection(database, marker).await?;
        return Err(taken(name).with_source(error));
    }
    failpoint!("mongo.series.made");
    let survey = Survey::of(database).await?;
    let uuid = survey.get(name).and_then(|found| found.uuid.clone());
    let known = doc! { "$set": { "made": true, "uuid": uuid.map_or(Bson::Null, Bson::String) } };
    let update = doc! {
        "update": marker, "updates": [{ "q": { "_id": 1 }, "u": known }], "writeConcern": { "w": "majority" },
    };
    let answer = database.run_command(update).await.map_err(failed("marking a time series"))?;
    if number(&answer, "n") == Some(0) {
        // Whoever has taken this job over has taken it away, and makes the series himself.
        return Err(EngineError::new(ErrorCode::TargetChanged, format!("the marker of time series {name:?} is gone")));
    }
    Ok(())
}

/// What the server deletes from now on.
pub(super) async fn set_expiry(database: &Database, name: &str, expiry: &Bson) -> Result<(), EngineError> {
    let change = doc! { "collMod": name, EXPIRY: expiry, "writeConcern": { "w": "majority" } };
    database.run_command(change).await.map(drop).map_err(failed(format!("setting the expiry of time series {name:?}")))
}

/// Lets one hold buckets in which a field has values of several types, as servers before 5.2 wrote them.
pub(super) async fn allow_mixed(database: &Database, name: &str) -> Result<(), EngineError> {
    let change = doc! { "collMod": name, "timeseriesBucketsMayHaveMixedSchemaData": true };
    let doing = format!("letting time series {name:?} have buckets of mixed types");
    database.run_command(change).await.map(drop).map_err(failed(doing))
}

/// Reads a marker. None: it says nothing, as its insert never arrived.
pub(super) async fn read(database: &Database, marker: &str) -> Result<Option<Mark>, EngineError> {
    let found = database.collection::<Document>(marker).find_one(doc! { "_id": 1 }).await;
    let found = found.map_err(failed("reading the marker of a time series"))?;
    Ok(found.and_then(|found| {
        let series = found.get_str("series").ok()?.to_owned();
        let uuid = found.get_str("uuid").ok().map(ToOwned::to_owned);
        Some(Mark { series, made: found.get_bool("made").unwrap_or_default().then_some(Made(uuid)) })
    }))
}

/// Takes a series away, if it is the one that the marker means, and then the marker.
pub(super) async fn discard(database: &Database, survey: &Survey, marker: &str) -> Result<(), EngineError> {
    if let Some(mark) = survey.mark(marker) {
        let name = mark.series.as_str();
        let is_ours = match &mark.made {
            Some(_) => survey.is_made(mark),
            // Nothing is written to one before its marker knows it. What holds something is somebody's.
            None => survey.is_series(name) && is_empty(database, name).await?,
        };
        if is_ours {
            drop_collection(database, name).await?;
        }
    }
    drop_collection(database, marker).await
}

/// What a job has restored is the database's own from now on, whatever becomes of the job's marks.
pub async fn give_all(database: &Database, job: Uuid) -> Result<(), EngineError> {
    let survey = Survey::of(database).await?;
    for (marker, _) in survey.ours().filter(|(_, own)| matches!(own, Own::Series(tag) if tag.job == job)) {
        drop_collection(database, marker).await?;
    }
    Ok(())
}

async fn is_empty(database: &Database, name: &str) -> Result<bool, EngineError> {
    let one = database.collection::<RawDocumentBuf>(&buckets(name)).find_one(doc! {}).await;
    Ok(one.map_err(failed(format!("looking into time series {name:?}")))?.is_none())
}

/// One that is there, and would have to make way.
pub(super) fn stands(name: &str) -> EngineError {
    unsupported(format!("collection {name:?} is a time series, which MongoDB cannot rename: it cannot make way"))
        .with_hint(
            "restore into another database; or name the other collections; or back it up, drop it, and restore again",
        )
}

/// One that is to come where something is.
pub(super) fn taken(name: &str) -> EngineError {
    unsupported(format!("a collection {name:?} is there already, and a time series cannot come in its place"))
        .with_hint("MongoDB renames no time series: rename or drop what has the name, or restore into another database")
}

/// One that would have to wait for its name.
pub(super) fn cannot_wait(name: &str) -> EngineError {
    unsupported(format!(
        "collection {name:?} is a time series, which MongoDB cannot rename: it cannot wait beside what is there"
    ))
    .with_hint("restore this save for itself; the collection cannot be part of a restore of several databases at once")
}

/// One in a server that keeps them in another way.
pub(super) fn without_buckets(name: &str) -> EngineError {
    unsupported(format!("collection {name:?} is a time series, which this server takes from its own tools alone"))
        .with_hint("restore the other collections by naming them, and this one with mongorestore (operations.md, with standard tools)")
}

fn unsupported(message: String) -> EngineError {
    EngineError::new(ErrorCode::CollectionUnsupported, message)
}
