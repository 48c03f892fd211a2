//! Take in a dump that somebody brings: as a save, or, where it is plain SQL, as a new database.

use serde::{Deserialize, Serialize};

use crate::{
    id::{SaveId, TargetId},
    name::DatabaseName,
};

/// The payload of an import. The bytes come with a request: it runs on the worker that receives them, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportJob {
    pub v: u16,
    /// Whose stores the save goes to; or whose server and restore credential the database is made with.
    pub target_id: TargetId,
    #[serde(flatten)]
    pub into: ImportInto,
}

/// What a dump becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImportInto {
    /// An archive.
    #[serde(rename = "save_id")]
    Save(SaveId),
    /// Plain SQL, which has to be run to be anything.
    #[serde(rename = "database")]
    Database(NewDatabase),
}

/// A database that plain SQL makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewDatabase {
    /// Nothing may stand under this name.
    pub name: DatabaseName,
    /// Whether the SQL is run although the credential's role may start programs, or read and write files, on the server.
    pub trust: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_queued_before_there_was_plain_sql_is_read_as_it_was() {
        let (save, target) = (SaveId::generate(), TargetId::generate());
        let old = json!({ "v": 1, "save_id": save, "target_id": target });
        let job = ImportJob { v: 1, target_id: target, into: ImportInto::Save(save) };
        assert_eq!(serde_json::from_value::<ImportJob>(old.clone()).unwrap(), job);
        assert_eq!(serde_json::to_value(&job).unwrap(), old);
        let name = DatabaseName::parse("items").unwrap();
        let job = ImportJob { into: ImportInto::Database(NewDatabase { name, trust: false }), ..job };
        let written = serde_json::to_value(&job).unwrap();
        assert_eq!(written, json!({ "v": 1, "target_id": target, "database": { "name": "items", "trust": false } }));
        assert_eq!(serde_json::from_value::<ImportJob>(written).unwrap(), job);
    }
}
