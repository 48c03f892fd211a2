//! Indexes, with all the options they had.

use mongodb::{
    Database,
    bson::{Bson, Document, doc},
};

use super::{
    fault::failed,
    load::{Collection, Loaded},
    series,
};
use crate::engine::EngineError;

/// What older servers listed and newer ones do not take: the namespace, and how it was built once.
const NOT_FOR_CREATE: [&str; 3] = ["ns", "background", "dropDups"];

/// Builds them: those of a collection in one command, which reads it once; a time series begins to expire. What the restore creates without being told is
/// left out: the index of `_id`.
pub async fn build(database: &Database, loaded: &Loaded) -> Result<(), EngineError> {
    for collection in &loaded.collections {
        let indexes = wanted(collection);
        // Those of a time series are of its measurements, not of its buckets.
        let of = if collection.series.is_some() { &collection.name } else { &collection.staged };
        if !indexes.is_empty() {
            let doing = format!("building the indexes of collection {:?}", collection.name);
            let create = doc! { "createIndexes": of, "indexes": indexes, "writeConcern": { "w": "majority" } };
            database.run_command(create).await.map_err(failed(doing))?;
        }
        if let Some(expiry) = collection.series.as_ref().and_then(|series| series.expiry.as_ref()) {
            series::set_expiry(database, of, expiry).await?;
        }
    }
    Ok(())
}

/// The definitions for `createIndexes`.
pub fn wanted(collection: &Collection) -> Vec<Document> {
    let fitted = |index: &Document| -> Document {
        let mut cleaned = cleaned(index);
        if collection.has_collation && !cleaned.contains_key("collation") {
            // The server lists no collation where an index has none, and would now give it the collection's.
            cleaned.insert("collation", doc! { "locale": "simple" });
        }
        cleaned
    };
    collection.indexes.iter().filter(|index| !comes_by_itself(index)).map(fitted).collect()
}

/// The index of `_id`, and that of a clustered collection: whoever makes the collection makes them.
pub(in super::super) fn comes_by_itself(index: &Document) -> bool {
    let key = index.get_document("key").ok();
    let is_id = key.is_some_and(|key| key.len() == 1 && key.get("_id").is_some_and(is_one));
    is_id || index.get_bool("clustered").unwrap_or_default()
}

/// Without what `createIndexes` does not take.
pub(in super::super) fn cleaned(index: &Document) -> Document {
    let options = index.iter().filter(|(key, _)| !NOT_FOR_CREATE.contains(&key.as_str()));
    options.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// `{_id: 1}` comes by itself; `{_id: "hashed"}` and `{_id: -1}` do not.
fn is_one(value: &Bson) -> bool {
    matches!(value, Bson::Int32(1) | Bson::Int64(1)) || value.as_f64() == Some(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mongodb::restore::tally::Tally;

    #[test]
    fn all_but_what_comes_by_itself_is_asked_for_with_its_options_in_order() {
        let partial = doc! { "v": 2, "key": { "z": 1, "a": -1 }, "name": "za", "unique": true, "sparse": true,
        "expireAfterSeconds": 60, "partialFilterExpression": { "z": { "$gt": 5 } },
        "collation": { "locale": "de", "strength": 2 } };
        let mut old = partial.clone();
        old.insert("ns", "shop.lots");
        old.insert("background", true);
        let text = doc! { "v": 2, "key": { "_fts": "text", "_ftsx": 1 }, "name": "t", "weights": { "title": 3 } };
        let hashed = doc! { "v": 2, "key": { "_id": "hashed" }, "name": "_id_hashed" };
        let back = doc! { "v": 2, "key": { "_id": -1 }, "name": "_id_-1" };
        let indexes = vec![
            doc! { "v": 2, "key": { "_id": 1 }, "name": "_id_" },
            doc! { "v": 2, "key": { "_id": 1.0 }, "name": "_id_" },
            back.clone(),
            old,
            text.clone(),
            hashed.clone(),
            doc! { "v": 2, "key": { "_id": 1 }, "name": "c", "clustered": true, "unique": true },
        ];
        let mut collection = Collection {
            name: "lots".to_owned(),
            staged: "x".to_owned(),
            series: None,
            indexes,
            is_capped: false,
            has_collation: false,
            tally: Tally::default(),
        };
        let found = wanted(&collection);
        assert_eq!(found, [back, partial.clone(), text, hashed]);
        assert_eq!(found[1].keys().collect::<Vec<_>>(), partial.keys().collect::<Vec<_>>());
        collection.has_collation = true;
        let collations = wanted(&collection);
        assert_eq!(collations[1].get_document("collation").unwrap().get_str("locale").unwrap(), "de");
        assert_eq!(collations[2].get_document("collation").unwrap(), &doc! { "locale": "simple" });
    }
}
