//! A namespace's metadata as mongodump writes it: one line of canonical extended JSON with options, indexes and UUID.

use mongodb::bson::{Bson, Document};

use super::{
    Kind,
    extjson::{self, JsonError},
};

/// What a collection is apart from its documents. The order of keys is kept: that of an index' key means something.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// As `listCollections` says it: `capped`, `timeseries`, `viewOn`, `validator`, `collation`, …
    pub options: Document,
    /// As `listIndexes` says it, `_id_` included; none for views.
    pub indexes: Vec<Document>,
    /// 32 hexadecimal digits; None where the server has none.
    pub uuid: Option<String>,
    pub collection_name: String,
    pub kind: Kind,
}

impl Metadata {
    /// As mongodump writes it.
    pub fn to_json(&self) -> Result<String, JsonError> {
        let mut document = Document::new();
        if !self.options.is_empty() {
            document.insert("options", self.options.clone());
        }
        document.insert("indexes", self.indexes.iter().cloned().map(Bson::Document).collect::<Vec<_>>());
        if let Some(uuid) = &self.uuid {
            document.insert("uuid", uuid.as_str());
        }
        document.insert("collectionName", self.collection_name.as_str());
        document.insert("type", self.kind.as_str());
        extjson::write(&document)
    }

    /// Reads what mongodump of any version wrote. What is not there is empty.
    pub fn parse(json: &str) -> Result<Self, JsonError> {
        let mut document = if json.trim().is_empty() { Document::new() } else { extjson::parse(json)? };
        let mut text = |key: &str| match document.remove(key) {
            Some(Bson::String(text)) => Some(text),
            _ => None,
        };
        let uuid = text("uuid").filter(|uuid| !uuid.is_empty());
        let collection_name = text("collectionName").unwrap_or_default();
        let kind = Kind::of(&text("type").unwrap_or_default());
        let options = match document.remove("options") {
            None | Some(Bson::Null) => Document::new(),
            Some(Bson::Document(options)) => options,
            Some(_) => return Err(JsonError::Shape("its options are no object")),
        };
        let indexes = match document.remove("indexes") {
            None | Some(Bson::Null) => Vec::new(),
            Some(Bson::Array(indexes)) => indexes,
            Some(_) => return Err(JsonError::Shape("its indexes are no array")),
        };
        let index = |index| match index {
            Bson::Document(index) => Ok(index),
            _ => Err(JsonError::Shape("an index is no object")),
        };
        let indexes = indexes.into_iter().map(index).collect::<Result<_, _>>()?;
        Ok(Self { options, indexes, uuid, collection_name, kind })
    }
}
