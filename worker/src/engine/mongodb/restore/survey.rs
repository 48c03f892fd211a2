//! What is in a database: collections, views, and what restores have put there beside them.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use mongodb::{
    Database,
    bson::{Bson, Document, doc, spec::BinarySubtype},
};
use uuid::Uuid;

use super::{
    fault::failed,
    names::{Own, PREFIX},
};
use crate::engine::{EngineError, ErrorCode, SessionTag};

/// A collection or view as the server lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// `collection`, `view` or `timeseries`.
    pub kind: String,
    pub options: Document,
    /// 32 hexadecimal digits; None for views, and where the server has none.
    pub uuid: Option<String>,
}

/// A database's collections and views, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Survey {
    pub(super) found: BTreeMap<String, Found>,
}

impl Survey {
    /// Asks the server.
    pub async fn of(database: &Database) -> Result<Self, EngineError> {
        let doing = || failed(format!("listing the collections of {:?}", database.name()));
        let listed = database.run_cursor_command(doc! { "listCollections": 1 }).await.map_err(doing())?;
        let listed: Vec<Document> = listed.try_collect().await.map_err(doing())?;
        Ok(Self { found: listed.into_iter().filter_map(entry).collect() })
    }

    /// What somebody else has put there: neither ours, nor the server's own.
    pub fn theirs(&self) -> impl Iterator<Item = (&str, &Found)> {
        let theirs = |name: &str| !name.starts_with(PREFIX) && !is_system(name);
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

    /// Refuses what cannot be renamed: time series, and collections that are spread over shards.
    pub async fn require_movable(&self, database: &Database) -> Result<(), EngineError> {
        if let Some((name, _)) = self.theirs().find(|(_, found)| found.kind == "timeseries") {
            return Err(timeseries(name));
        }
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

/// Why a time series is refused.
pub(super) fn timeseries(name: &str) -> EngineError {
    EngineError::new(
        ErrorCode::CollectionUnsupported,
        format!("collection {name:?} is a time series, which MongoDB cannot rename: it cannot be restored beside what is there"),
    )
    .with_hint("restore the other collections by naming them, and this one with mongorestore (operations.md, with standard tools)")
}

/// The server's own, which no rename takes.
pub(super) fn is_system(name: &str) -> bool {
    name.starts_with("system.")
}

/// Waits for nobody: drops what attempts of `job` before `epoch`, or all of them, have left.
pub async fn drop_staged(database: &Database, job: Uuid, before: Option<i64>) -> Result<usize, EngineError> {
    let is_old = |tag: SessionTag| tag.job == job && before.is_none_or(|epoch| tag.epoch < epoch);
    drop_ours(database, |own| matches!(own, Own::Staged(tag) if is_old(tag))).await
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
        let names: Vec<&str> = survey.ours().filter(|(_, own)| is_wanted(*own)).map(|(name, _)| name).collect();
        for name in names {
            drop_collection(database, name).await?;
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
        let survey = Survey { found: listed.into_iter().filter_map(entry).collect() };
        assert_eq!(survey.collections().collect::<Vec<_>>(), ["lots"]);
        assert_eq!(survey.views().map(|(name, _)| name).collect::<Vec<_>>(), ["open"]);
        assert_eq!(survey.get("lots").unwrap().uuid.as_deref(), Some("07".repeat(16).as_str()));
        assert_eq!(survey.ours().count(), 1);
        assert!(!survey.is_free());
    }
}
