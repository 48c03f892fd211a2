//! What is in a database: collections, views, and what restores have put there beside them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use mongodb::{
    Database,
    bson::{Bson, Document, doc, spec::BinarySubtype},
};
use uuid::Uuid;

use super::{
    fault::failed,
    names::{Own, PREFIX},
    series::{self, Made, Mark},
};
use crate::engine::{EngineError, ErrorCode, SessionTag};

/// A collection or view as the server lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// `collection`, `view` or `timeseries`.
    pub kind: String,
    pub options: Document,
    /// 32 hexadecimal digits, of a time series those of its buckets; None for views, and where the server has none.
    pub uuid: Option<String>,
}

/// A database's collections and views, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    pub(super) found: BTreeMap<String, Found>,
    /// What the markers of time series say, by their names.
    pub(super) marks: BTreeMap<String, Mark>,
}

impl Survey {
    /// Asks the server.
    pub async fn of(database: &Database) -> Result<Self, EngineError> {
        let doing = || failed(format!("listing the collections of {:?}", database.name()));
        let listed = database.run_cursor_command(doc! { "listCollections": 1 }).await.map_err(doing())?;
        let listed: Vec<Document> = listed.try_collect().await.map_err(doing())?;
        let mut this = Self { found: found(listed), marks: BTreeMap::new() };
        let markers: Vec<String> = this.markers().map(ToOwned::to_owned).collect();
        for marker in markers {
            if let Some(mark) = series::read(database, &marker).await? {
                this.marks.insert(marker, mark);
            }
        }
        Ok(this)
    }

    /// What somebody else has put there: neither ours, nor the server's own.
    pub fn theirs(&self) -> impl Iterator<Item = (&str, &Found)> {
        let theirs = |name: &str| !name.starts_with(PREFIX) && !is_system(name) && !self.is_being_filled(name);
        self.found.iter().filter(move |(name, _)| theirs(name)).map(|(name, found)| (name.as_str(), found))
    }

    /// Collections that can be renamed.
    pub fn collections(&self) -> impl Iterator<Item = &str> {
        self.theirs().filter(|(_, found)| found.kind != "view").map(|(name, _)| name)
    }

    /// Views, and how they are defined.
    pub fn views(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.theirs().filter(|(_, found)| found.kind == "view").map(|(name, found)| (name, &found.options))
    }

    /// Whether nobody has put anything there.
    pub fn is_free(&self) -> bool {
        self.theirs().next().is_none()
    }

    /// Whether there is anything under a name.
    pub fn has(&self, name: &str) -> bool {
        self.found.contains_key(name)
    }

    /// What stands under a name.
    pub fn get(&self, name: &str) -> Option<&Found> {
        self.found.get(name)
    }

    /// Everything of ours, and whose it is.
    pub fn ours(&self) -> impl Iterator<Item = (&str, Own)> {
        self.found.keys().filter_map(|name| Some((name.as_str(), Own::of(name)?)))
    }

    fn markers(&self) -> impl Iterator<Item = &str> {
        self.ours().filter(|(_, own)| matches!(own, Own::Series(_))).map(|(name, _)| name)
    }

    /// What a marker says.
    pub(super) fn mark(&self, marker: &str) -> Option<&Mark> {
        self.marks.get(marker)
    }

    /// Whether there is a time series of that name.
    pub(super) fn is_series(&self, name: &str) -> bool {
        self.get(name).is_some_and(|found| found.kind == "timeseries")
    }

    /// Whether the series that a marker means is there.
    pub(super) fn is_made(&self, mark: &Mark) -> bool {
        let is_it = |Made(uuid): &Made| self.get(&mark.series).is_some_and(|found| found.uuid == *uuid);
        self.is_series(&mark.series) && mark.made.as_ref().is_some_and(is_it)
    }

    /// Whether a restore is filling it.
    pub fn is_being_filled(&self, name: &str) -> bool {
        self.marks.values().any(|mark| mark.series == name && self.is_made(mark))
    }

    /// What this job put aside: all names that begin so.
    pub fn asides(&self, job: Uuid) -> Vec<String> {
        self.ours().filter(|(_, own)| *own == Own::Aside(job)).map(|(name, _)| name.to_owned()).collect()
    }

    /// A rename was made.
    pub(super) fn renamed(&mut self, from: &str, to: &str) {
        if let Some(found) = self.found.remove(from) {
            self.found.insert(to.to_owned(), found);
        }
    }

    /// A marker was dropped.
    pub(super) fn unmarked(&mut self, marker: &str) {
        self.found.remove(marker);
        self.marks.remove(marker);
    }

    /// Somebody's time series.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.theirs().filter(|(_, found)| found.kind == "timeseries").map(|(name, _)| name)
    }

    /// Refuses to let time series make way, which cannot be renamed: those of `names`, or, if that is None, all.
    pub fn require_movable(&self, names: Option<&BTreeSet<String>>) -> Result<(), EngineError> {
        let in_the_way = self.series().find(|name| names.is_none_or(|names| names.contains(*name)));
        in_the_way.map_or(Ok(()), |name| Err(series::stands(name)))
    }

    /// Refuses a database with collections that are spread over shards, and cannot be renamed either.
    pub async fn require_unsharded(&self, database: &Database) -> Result<(), EngineError> {
        match sharded(database).await? {
            Some(name) => Err(EngineError::new(
                ErrorCode::CollectionUnsupported,
                format!("collection {name:?} is sharded, and cannot be replaced by another"),
            )
            .with_hint("restore into another database, and copy what is needed from there")),
            None => Ok(()),
        }
    }
}

/// The server's own, which no rename takes.
pub(super) fn is_system(name: &str) -> bool {
    name.starts_with("system.")
}

/// Waits for nobody: drops what attempts of `job` before `epoch`, or all of them, have left.
pub async fn drop_staged(database: &Database, job: Uuid, before: Option<i64>) -> Result<usize, EngineError> {
    let is_old = |tag: SessionTag| tag.job == job && before.is_none_or(|epoch| tag.epoch < epoch);
    drop_ours(database, |own| own.attempt().is_some_and(is_old)).await
}

/// Drops what a job put aside. How many collections it were.
pub async fn drop_asides(database: &Database, job: Uuid) -> Result<usize, EngineError> {
    drop_ours(database, |own| own == Own::Aside(job)).await
}

async fn drop_ours(database: &Database, is_wanted: impl Fn(Own) -> bool + Send + Sync) -> Result<usize, EngineError> {
    let mut dropped = 0;
    // A second look: what was on its way to the server when its worker was stopped makes its collection anew.
    for _ in 0..2 {
        let survey = Survey::of(database).await?;
        for (name, own) in survey.ours().filter(|(_, own)| is_wanted(*own)) {
            match own {
                Own::Series(_) => series::discard(database, &survey, name).await?,
                Own::Staged(_) | Own::Aside(_) => drop_collection(database, name).await?,
            }
            dropped += 1;
        }
    }
    Ok(dropped)
}

/// Drops a collection or view; that it is gone already is as good.
pub(in super::super) async fn drop_collection(database: &Database, name: &str) -> Result<(), EngineError> {
    let done = database.run_command(doc! { "drop": name, "writeConcern": { "w": "majority" } }).await;
    match done {
        Ok(_) => Ok(()),
        // Not every server has a code for that.
        Err(_) if !Survey::of(database).await?.has(name) => Ok(()),
        Err(error) => Err(failed(format!("dropping collection {name:?}"))(error)),
    }
}

/// A collection of the database that is spread over shards, if there is one.
pub(in super::super) async fn sharded(database: &Database) -> Result<Option<String>, EngineError> {
    let doing = || failed("asking whether collections are sharded");
    // The older name of `hello`, which every server knows.
    let hello = database.run_command(doc! { "isMaster": 1 }).await.map_err(doing())?;
    if hello.get_str("msg").ok() != Some("isdbgrid") {
        return Ok(None);
    }
    let front = format!("{}.", database.name());
    let collections = database.client().database("config").collection::<Document>("collections");
    let mut sharded = collections.find(doc! { "dropped": { "$ne": true } }).await.map_err(doing())?;
    while let Some(one) = sharded.try_next().await.map_err(doing())? {
        if let Some(name) = one.get_str("_id").ok().and_then(|id| id.strip_prefix(&front))
            // The server's own of a time series or an encrypted collection.
            && !one.get_bool("unsplittable").unwrap_or_default()
        {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// By name. What tells one time series from another are its buckets.
fn found(listed: Vec<Document>) -> BTreeMap<String, Found> {
    let mut found: BTreeMap<String, Found> = listed.into_iter().filter_map(entry).collect();
    let is_series = |(_, found): &(&String, &Found)| found.kind == "timeseries";
    let names: Vec<String> = found.iter().filter(is_series).map(|(name, _)| name.clone()).collect();
    for name in names {
        let uuid = found.get(&series::buckets(&name)).and_then(|buckets| buckets.uuid.clone());
        if let Some(series) = found.get_mut(&name) {
            series.uuid = uuid;
        }
    }
    found
}

fn entry(mut listed: Document) -> Option<(String, Found)> {
    let name = listed.get_str("name").ok()?.to_owned();
    let kind = listed.get_str("type").unwrap_or("collection").to_owned();
    let uuid = match listed.get_document("info").ok().and_then(|info| info.get("uuid")) {
        Some(Bson::Binary(binary)) if binary.subtype == BinarySubtype::Uuid => Some(hex::encode(&binary.bytes)),
        _ => None,
    };
    let options = match listed.remove("options") {
        Some(Bson::Document(options)) => options,
        _ => Document::new(),
    };
    Some((name, Found { kind, options, uuid }))
}

#[cfg(test)]
mod tests {
    use mongodb::bson::Binary;

    use super::*;

    #[test]
    fn what_the_server_lists_is_told_apart() {
        let uuid = Binary { subtype: BinarySubtype::Uuid, bytes: vec![7; 16] };
        let job = Uuid::now_v7();
        let waiting = super::super::names::staged(SessionTag { job, epoch: 1 }, 0);
        let listed = [
            doc! { "name": "lots", "type": "collection", "options": {}, "info": { "uuid": uuid } },
            doc! { "name": "open", "type": "view", "options": { "viewOn": "lots", "pipeline": [] } },
            doc! { "name": "system.views", "type": "collection" },
            doc! { "name": waiting.as_str() },
        ];
        let survey = Survey { found: found(listed.into()), marks: BTreeMap::new() };
        assert_eq!(survey.collections().collect::<Vec<_>>(), ["lots"]);
        assert_eq!(survey.views().map(|(name, _)| name).collect::<Vec<_>>(), ["open"]);
        assert_eq!(survey.get("lots").unwrap().uuid.as_deref(), Some("07".repeat(16).as_str()));
        assert_eq!(survey.ours().count(), 1);
        assert!(!survey.is_free());
    }
}
