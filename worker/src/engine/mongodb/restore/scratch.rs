//! A database of a drill: its name tells installation and job, and a marker in it proves that it is ours. Dropped is only what
//! has both.

use futures_util::TryStreamExt as _;
use mongodb::{
    Client, Database,
    bson::{Bson, Document, doc},
};
use shared::name::DatabaseName;
use uuid::Uuid;

use super::{
    fault::failed,
    index,
    load::{Loaded, NOT_FOR_CREATE},
    survey::{Survey, drop_collection},
    view,
};
use crate::engine::{
    Connection, EngineError, ErrorCode,
    mongodb::archive::{Kind, Prelude},
};

const FRONT: &str = "hf_drill_";
/// The collection that says whose the database is. A dump leaves it out, like all names that begin so.
const MARKER: &str = "__hf_drill";

/// `hf_drill_<end of the installation's id>_<job>`: 54 of the 63 bytes that a name may have.
pub fn name(at: &Connection) -> Result<DatabaseName, EngineError> {
    DatabaseName::parse(format!("{}{}", front(at.installation), at.session.job.simple()))
        .map_err(|error| EngineError::new(ErrorCode::Internal, error.to_string()))
}

fn front(installation: Uuid) -> String {
    let id = installation.simple().to_string();
    format!("{FRONT}{}_", id.get(id.len() - 12..).unwrap_or_default())
}

/// Makes the database, which begins with its marker.
pub async fn mark(database: &Database, at: &Connection) -> Result<(), EngineError> {
    let marker = doc! {
        "_id": 1, "installation": at.installation.to_string(), "job": at.session.job.to_string(), "epoch": at.session.epoch,
    };
    let insert = doc! { "insert": MARKER, "documents": [marker], "writeConcern": { "w": "majority" } };
    database.run_command(insert).await.map(drop).map_err(failed("marking the drill's database"))
}

/// Jobs of this installation whose drills left a database on the server, as their names say. A server that does not list its
/// databases to this user has none as far as is known.
pub async fn left(client: &Client, at: &Connection) -> Vec<Uuid> {
    let front = front(at.installation);
    let names = match client.list_database_names().await {
        Ok(names) => names,
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "the databases cannot be listed");
            return Vec::new();
        }
    };
    names.iter().filter_map(|name| Uuid::try_parse(name.strip_prefix(&front)?).ok()).collect()
}

/// Drops the database of a job's drill, if its marker says so. What else is in it goes first, so that a drop that is cut short
/// leaves the marker.
pub async fn remove(database: &Database, installation: Uuid, job: Uuid) -> Result<bool, EngineError> {
    let marker = database.collection::<Document>(MARKER).find_one(doc! { "_id": 1 }).await;
    let marker = marker.map_err(failed("looking for the marker of a drill's database"))?;
    let says = |key: &str, id: Uuid| {
        marker.as_ref().is_some_and(|marker| marker.get_str(key).ok() == Some(id.to_string().as_str()))
    };
    if !says("installation", installation) || !says("job", job) {
        return Ok(false);
    }
    let survey = Survey::of(database).await?;
    for name in survey.found.keys().filter(|name| *name != MARKER && !super::survey::is_system(name)) {
        drop_collection(database, name).await?;
    }
    database.drop().await.map_err(failed("dropping a drill's database"))?;
    Ok(true)
}

/// Gives what waits its names, and makes the views.
pub async fn name_all(database: &Database, loaded: &Loaded) -> Result<(), EngineError> {
    let (admin, front) = (database.client().database("admin"), database.name());
    for collection in loaded.collections.iter().filter(|collection| collection.series.is_none()) {
        let (from, to) = (&collection.staged, &collection.name);
        let rename = doc! {
            "renameCollection": format!("{front}.{from}"), "to": format!("{front}.{to}"), "dropTarget": false,
            "writeConcern": { "w": "majority" },
        };
        admin.run_command(rename).await.map_err(failed(format!("renaming collection {from:?} to {to:?}")))?;
    }
    view::settle(database, &[], &loaded.views).await
}

/// What the archive announces of collections, views and indexes, and the database does not have, or has otherwise: in words.
/// What is there beside it is no matter.
pub async fn differences(
    database: &Database,
    prelude: &Prelude,
    from: &str,
    loaded: &Loaded,
) -> Result<Vec<String>, EngineError> {
    let survey = Survey::of(database).await?;
    let mut told = Vec::new();
    for namespace in prelude.namespaces.iter().filter(|namespace| namespace.db == from) {
        let name = namespace.collection.as_str();
        if super::survey::is_system(name) {
            continue;
        }
        let metadata = namespace.metadata().map_err(|error| {
            EngineError::new(ErrorCode::RestoreIncompatible, format!("the metadata of {name:?} cannot be read"))
                .with_source(error)
        })?;
        let is_view = namespace.kind == Kind::View || metadata.options.contains_key("viewOn");
        let what = if is_view { "view" } else { "collection" };
        let Some(found) = survey.get(name) else {
            told.push(format!("{what} {name:?} is not there"));
            continue;
        };
        if (found.kind == "view") != is_view {
            told.push(format!("{what} {name:?} is there as a {}", found.kind));
        }
        for (key, wanted) in metadata.options.iter().filter(|(key, _)| !NOT_FOR_CREATE.contains(&key.as_str())) {
            if !found.options.get(key).map_or(*wanted == Bson::Null, |there| holds(there, wanted)) {
                told.push(format!("{what} {name:?} has another {key}"));
            }
        }
    }
    for collection in &loaded.collections {
        let there = indexes(database, &collection.name).await?;
        for wanted in index::wanted(collection) {
            let name = wanted.get_str("name").unwrap_or_default();
            let found = there.iter().find(|index| index.get_str("name").ok() == Some(name));
            match found {
                None => told.push(format!("index {name:?} of collection {:?} is not there", collection.name)),
                Some(found) if !is_same_index(found, &wanted) => {
                    told.push(format!("index {name:?} of collection {:?} is another one", collection.name));
                }
                Some(_) => {}
            }
        }
    }
    Ok(told)
}

async fn indexes(database: &Database, collection: &str) -> Result<Vec<Document>, EngineError> {
    let doing = || failed(format!("listing the indexes of collection {collection:?}"));
    let listed = database.run_cursor_command(doc! { "listIndexes": collection }).await.map_err(doing())?;
    listed.try_collect().await.map_err(doing())
}

/// The order of a key's fields means something; that of its options does not.
fn is_same_index(found: &Document, wanted: &Document) -> bool {
    let fields = |index: &Document| -> Vec<String> {
        index.get_document("key").map(|key| key.keys().cloned().collect()).unwrap_or_default()
    };
    let simple = |value: &Bson| value.as_document().is_some_and(|one| one.get_str("locale").ok() == Some("simple"));
    let has = |key: &str, value: &Bson| match found.get(key) {
        Some(there) => holds(there, value),
        // No collation is listed where there is none.
        None => key == "collation" && simple(value),
    };
    fields(found) == fields(wanted) && wanted.iter().all(|(key, value)| key == "v" || has(key, value))
}

/// Whether a value is there: what a document has beside it, and of which size a number is, does not matter.
fn holds(there: &Bson, wanted: &Bson) -> bool {
    match (there, wanted) {
        (Bson::Document(there), Bson::Document(wanted)) => {
            // The version of a collation is that of the server's library.
            wanted
                .iter()
                .filter(|(key, _)| *key != "version")
                .all(|(key, value)| there.get(key).map_or(*value == Bson::Null, |there| holds(there, value)))
        }
        (Bson::Array(there), Bson::Array(wanted)) => {
            there.len() == wanted.len() && there.iter().zip(wanted).all(|(there, wanted)| holds(there, wanted))
        }
        _ => match (number(there), number(wanted)) {
            (Some(there), Some(wanted)) => there.total_cmp(&wanted).is_eq(),
            _ => there == wanted,
        },
    }
}

#[expect(clippy::cast_precision_loss, reason = "options are small numbers")]
fn number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Int32(n) => Some(f64::from(*n)),
        Bson::Int64(n) => Some(*n as f64),
        Bson::Double(n) => Some(*n),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_tell_their_job() {
        let (installation, job) = (Uuid::now_v7(), Uuid::now_v7());
        let name = format!("{}{}", front(installation), job.simple());
        assert!(name.len() <= 63, "{name}");
        assert_eq!(name.strip_prefix(&front(installation)).and_then(|rest| Uuid::try_parse(rest).ok()), Some(job));
    }

    #[test]
    fn an_index_is_the_same_whatever_the_server_adds_and_another_where_it_differs() {
        let wanted = doc! { "v": 2, "key": { "z": 1, "a": -1 }, "name": "za", "unique": true };
        let listed =
            doc! { "v": 2, "key": { "z": 1.0, "a": -1_i64 }, "name": "za", "unique": true, "background": true };
        assert!(is_same_index(&listed, &wanted));
        let mut turned = listed.clone();
        turned.insert("key", doc! { "a": -1, "z": 1 });
        assert!(!is_same_index(&turned, &wanted), "the order of the fields");
        let mut loose = listed.clone();
        loose.remove("unique");
        assert!(!is_same_index(&loose, &wanted));
        let mut simple = wanted.clone();
        simple.insert("collation", doc! { "locale": "simple" });
        assert!(is_same_index(&listed, &simple));
        simple.insert("collation", doc! { "locale": "de" });
        assert!(!is_same_index(&listed, &simple));
    }
}
