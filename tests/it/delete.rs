//! The end of saves and of what attempts left: delete, gc, foreign objects, adopt (design §3, guarantees C). Through HTTP,
//! with worker processes and real stores.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod adopt;
mod crash;
mod gc;
mod order;
mod refused;

use std::{collections::BTreeMap, path::Path};

use mongodb::bson::{Document, doc};
use serde_json::json;
use support::{Answer, App, Database, TargetSpec, stack};

/// A target whose saves lie in both stores.
async fn in_both_stores(app: &mut App, source: &Database) -> String {
    let target = json!({ "stores": ["disk", "grid"] });
    app.target_with(&TargetSpec { target, ..TargetSpec::of(&source.name) }).await
}

/// Asks for a save's deletion.
async fn delete(app: &App, save: &str) -> Answer {
    app.client.delete(&format!("/v1/saves/{save}")).await
}

/// Everything in store `disk` but its marker, with its bytes.
pub(crate) fn on_disk(app: &App) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![app.store()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else if entry.file_name() != ".holdfast-store.json" {
                let name = entry.path().strip_prefix(app.store()).unwrap().display().to_string();
                found.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The collections of store `grid`. Their database goes with this.
struct Grid(mongodb::Database);

impl Grid {
    async fn of(app: &App) -> Self {
        let client = mongodb::Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
        Self(client.database(&app.database))
    }

    /// Names of the visible files, in order.
    async fn files(&self) -> Vec<String> {
        self.texts("saves.files", "filename").await
    }

    /// Whose chunks there are, in order.
    async fn chunks(&self) -> Vec<String> {
        self.texts("saves.chunks", "files_id").await
    }

    async fn texts(&self, collection: &str, field: &str) -> Vec<String> {
        let mut cursor = self
            .0
            .collection::<Document>(collection)
            .find(doc! {})
            .projection(doc! { field: 1 })
            .batch_size(1000)
            .await
            .unwrap();
        let mut found = Vec::new();
        while cursor.advance().await.unwrap() {
            found.push(cursor.current().get_str(field).unwrap().to_owned());
        }
        found.sort();
        found
    }

    /// A file that somebody else put there.
    async fn plant(&self, name: &str) {
        let id = format!("planted-{name}");
        let file = doc! { "_id": &id, "length": 3_i64, "chunkSize": 1024, "uploadDate": mongodb::bson::DateTime::now(), "filename": name };
        self.0.collection::<Document>("saves.files").insert_one(file).await.unwrap();
        let data =
            mongodb::bson::Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: b"abc".to_vec() };
        self.0
            .collection::<Document>("saves.chunks")
            .insert_one(doc! { "files_id": &id, "n": 0, "data": data })
            .await
            .unwrap();
    }

    /// Takes it away again.
    async fn uproot(&self, name: &str) {
        let id = format!("planted-{name}");
        self.0.collection::<Document>("saves.files").delete_one(doc! { "_id": &id }).await.unwrap();
        self.0.collection::<Document>("saves.chunks").delete_one(doc! { "files_id": &id }).await.unwrap();
    }

    async fn drop(self) {
        self.0.drop().await.unwrap();
    }
}
