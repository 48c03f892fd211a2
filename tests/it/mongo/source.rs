//! A database on the stack's MongoDB-wire server, of this test alone.

use futures_util::StreamExt;
use mongodb::{
    Client, Collection, Database,
    bson::{RawDocumentBuf, doc},
};
use support::stack;

#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) database: Database,
}

impl Source {
    /// An empty one: it is there once it has a collection.
    pub(super) async fn empty() -> Self {
        let name = stack::fresh("shop");
        let client = Client::with_uri_str(stack::setting("MONGO_URL")).await.unwrap();
        Self { database: client.database(&name), name }
    }

    /// Collections of every kind that the server has, with indexes and odd names.
    pub(super) async fn shop() -> Self {
        let this = Self::empty().await;
        let items: Vec<_> = (0..3000_i32)
            .map(|n| doc! { "_id": n, "public_id": format!("p{n}"), "price": f64::from(n) / 7.0, "tags": ["a", "ü", "Ключ"], "nested": { "z": 1, "a": mongodb::bson::Bson::Null } })
            .collect();
        this.collection("items").insert_many(raw(items)).await.unwrap();
        for index in [
            doc! { "key": { "public_id": 1 }, "name": "items_public_id", "unique": true },
            doc! { "key": { "price": -1, "_id": 1 }, "name": "price_-1__id_1" },
            doc! { "key": { "expires": 1 }, "name": "expires_1", "sparse": true, "expireAfterSeconds": 3600 },
        ] {
            this.database.run_command(doc! { "createIndexes": "items", "indexes": [index] }).await.unwrap();
        }
        for name in ["dots.in.name", "Unicode-ключ", "-dash and space"] {
            this.collection(name)
                .insert_many(raw(vec![doc! { "_id": name, "at": mongodb::bson::DateTime::from_millis(-1) }]))
                .await
                .unwrap();
        }
        this.database.create_collection("empty").await.unwrap();
        this.add_large("big", 12, 300_000).await;
        this.add_large("bigger", 9, 700_000).await;
        this
    }

    /// So many documents of so many bytes.
    pub(super) async fn add_large(&self, name: &str, count: i32, bytes: usize) {
        for n in 0..count {
            let text: String =
                (0..bytes).map(|at| char::from(b'a' + u8::try_from((at * 7 + bytes) % 23).unwrap())).collect();
            self.collection(name).insert_many(raw(vec![doc! { "_id": n, "text": text }])).await.unwrap();
        }
    }

    pub(super) fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }

    /// By name.
    pub(super) async fn collections(&self) -> Vec<String> {
        let mut names = self.database.list_collection_names().await.unwrap();
        names.sort();
        names
    }

    /// The SHA-256 of each document's bytes.
    pub(super) async fn digests(&self, name: &str) -> Vec<String> {
        let collection = self.collection(name);
        let mut documents = collection.find(doc! {}).batch_size(5).await.unwrap();
        let mut digests = Vec::new();
        while let Some(document) = documents.next().await {
            digests.push(support::invariants::sha256(document.unwrap().as_bytes()));
        }
        digests
    }

    /// One digest of them, whatever their order.
    pub(super) fn digest(mut digests: Vec<String>) -> String {
        digests.sort();
        support::invariants::sha256(digests.concat().as_bytes())
    }

    pub(super) async fn drop(self) {
        self.database.drop().await.unwrap();
    }
}

pub(super) fn raw(documents: Vec<mongodb::bson::Document>) -> Vec<RawDocumentBuf> {
    documents.iter().map(|document| RawDocumentBuf::try_from(document).unwrap()).collect()
}
