//! A MongoDB database of an application, and an independent look at all that is in it.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use mongodb::{
    Client, Database,
    bson::{Bson, Document, RawDocumentBuf, doc},
    options::ClientOptions,
};
use serde_json::{Value, json};
use support::{App, TargetSpec, stack};

/// A collection: its documents as bytes, sorted, and its indexes by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Content {
    pub(crate) documents: Vec<Vec<u8>>,
    pub(crate) indexes: BTreeMap<String, Document>,
}

/// All collections of a database that are the application's.
pub(crate) type Contents = BTreeMap<String, Content>;

/// An installation with a worker-less target of a shop, saved once and damaged then.
pub(super) struct Scene {
    pub(super) app: App,
    pub(super) shop: Shop,
    pub(super) save: String,
    pub(super) saved: Contents,
    pub(super) damaged: Contents,
}

impl Scene {
    pub(super) async fn set() -> Self {
        let mut app = App::spawn().await;
        let shop = Shop::open().await;
        shop.fill().await;
        let target = app.target_with(&shop.spec()).await;
        let saved = shop.contents().await;
        let mut worker = app.worker("saver").await;
        let save = app.saved(&target).await;
        worker.stop().await;
        shop.damage().await;
        let damaged = shop.contents().await;
        assert_ne!(saved, damaged);
        Self { app, shop, save, saved, damaged }
    }

    /// Asks for the restore in place. The job's id.
    pub(super) async fn restore(&self, more: Value) -> String {
        in_place(&self.app, &self.shop, &self.save, &[more]).await
    }

    pub(super) async fn undo(&self, job: &str) -> String {
        undo(&self.app, &self.shop, job).await
    }
}

/// Asks for a restore in the place of the shop's database, with these fields besides. The job's id.
pub(super) async fn in_place(app: &App, shop: &Shop, save: &str, more: &[Value]) -> String {
    let mut body = json!({ "into": {}, "confirm": shop.name });
    for (key, value) in more.iter().flat_map(|more| more.as_object().unwrap()) {
        body[key] = value.clone();
    }
    app.client.post(&format!("/v1/saves/{save}/restore"), body).await.id()
}

/// Asks for the undo of such a restore. The job's id.
pub(super) async fn undo(app: &App, shop: &Shop, job: &str) -> String {
    app.client.post(&format!("/v1/jobs/{job}/undo"), json!({ "confirm": shop.name })).await.id()
}

/// A MongoDB-wire server: how a test reaches it, and how Holdfast is to.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(super) options: ClientOptions,
    pub(super) spec: TargetSpec,
}

impl Server {
    /// The one that knows neither users nor TLS.
    async fn open() -> Self {
        let url = stack::setting("MONGO_URL");
        let place = url.trim_start_matches("mongodb://").trim_end_matches('/');
        let (host, port) = place.split_once(':').unwrap();
        let nobody = || ("nobody".to_owned(), "a password that nobody asks for".to_owned());
        let spec = TargetSpec {
            database: String::new(),
            host: host.to_owned(),
            port: port.parse().unwrap(),
            tls_mode: "disable".to_owned(),
            tls_ca: None,
            backup: nobody(),
            restore: nobody(),
            server: json!({ "engine": "mongodb", "auth": "none" }),
            target: json!({}),
        };
        Self { options: ClientOptions::parse(url).await.unwrap(), spec }
    }
}

/// A database of the test's own.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) name: String,
    pub(crate) database: Database,
    server: Server,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::named(&stack::fresh("shop")).await
    }

    pub(crate) async fn named(name: &str) -> Self {
        Self::at(Server::open().await, name)
    }

    pub(super) fn at(server: Server, name: &str) -> Self {
        let client = Client::with_options(server.options.clone()).unwrap();
        Self { name: name.to_owned(), database: client.database(name), server }
    }

    /// As a target's server.
    pub(crate) fn spec(&self) -> TargetSpec {
        TargetSpec { database: self.name.clone(), ..self.server.spec.clone() }
    }

    /// Collections of all kinds that the server knows.
    pub(crate) async fn fill(&self) {
        let lots = self.database.collection::<Document>("lots");
        let many = (0..2500).map(|n| {
            doc! { "_id": n, "title": format!("Los № {n}"), "price": f64::from(n) / 3.0, "tags": ["a", { "deep": [n] }],
            "when": mongodb::bson::DateTime::from_millis(i64::from(n) * 1000), "none": Bson::Null }
        });
        lots.insert_many(many).await.unwrap();
        self.index("lots", doc! { "key": { "title": 1, "price": -1 }, "name": "by_title" }).await;
        self.index("lots", doc! { "key": { "title": 1 }, "name": "only", "unique": true, "sparse": true }).await;
        let odd = self.database.collection::<Document>("Ключ.с точками");
        odd.insert_many([doc! { "_id": "ä", "x": 1_i64 }, doc! { "_id": { "a": 1 }, "x": "\u{1f600}" }]).await.unwrap();
        self.index("Ключ.с точками", doc! { "key": { "x": 1 }, "name": "soon", "expireAfterSeconds": 86_400 }).await;
        let large = self.database.collection::<Document>("large");
        large.insert_one(doc! { "_id": 1, "text": "x".repeat(3 << 20) }).await.unwrap();
        self.database.create_collection("empty").await.unwrap();
    }

    async fn index(&self, collection: &str, index: Document) {
        let mut index = index;
        index.insert("v", 2);
        self.database.run_command(doc! { "createIndexes": collection, "indexes": [index] }).await.unwrap();
    }

    /// What somebody does by mistake.
    pub(crate) async fn damage(&self) {
        let lots = self.database.collection::<Document>("lots");
        lots.delete_many(doc! { "_id": { "$gte": 100 } }).await.unwrap();
        lots.update_one(doc! { "_id": 7 }, doc! { "$set": { "title": "gone wrong" } }).await.unwrap();
        self.database.collection::<Document>("large").drop().await.unwrap();
        self.database.collection::<Document>("later").insert_one(doc! { "_id": 1 }).await.unwrap();
    }

    /// Names of collections, ours and theirs.
    pub(super) async fn names(&self) -> Vec<String> {
        let mut names = self.database.list_collection_names().await.unwrap();
        names.sort();
        names
    }

    /// Names that begin as those of Holdfast do.
    pub(crate) async fn asides(&self) -> Vec<String> {
        self.names().await.into_iter().filter(|name| name.starts_with("__hf_")).collect()
    }

    pub(crate) async fn contents(&self) -> Contents {
        let mut all = Contents::new();
        for name in self.names().await.into_iter().filter(|name| !name.starts_with("__hf_")) {
            let content = self.content(&name).await;
            all.insert(name, content);
        }
        all
    }

    async fn content(&self, name: &str) -> Content {
        // This server sends all in one answer unless it is told how many, and the driver takes 48 MB at most.
        let cursor = self.database.collection::<RawDocumentBuf>(name).find(doc! {}).batch_size(500).await.unwrap();
        let found: Vec<RawDocumentBuf> = cursor.try_collect().await.unwrap();
        let mut documents: Vec<Vec<u8>> = found.into_iter().map(RawDocumentBuf::into_bytes).collect();
        documents.sort();
        let listed = self.database.run_cursor_command(doc! { "listIndexes": name }).await.unwrap();
        let listed: Vec<Document> = listed.try_collect().await.unwrap();
        let by_name = |index: Document| (index.get_str("name").unwrap().to_owned(), index);
        Content { documents, indexes: listed.into_iter().map(by_name).collect() }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let name = self.name.clone();
        let options = self.server.options.clone();
        // Its own runtime: the test's may be ending.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::with_options(options).unwrap();
                // A database that stays is no reason to abort a test that is failing already.
                drop(client.database(&name).drop().await);
            });
        });
        drop(dropping.join());
    }
}
