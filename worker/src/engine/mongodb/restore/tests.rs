//! An archive by the real mongodump, and damaged ones, into the development server.
#![expect(clippy::disallowed_methods, reason = "tests find the development server by an environment variable")]

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt as _;
use mongodb::{
    Client, Database,
    bson::{Document, RawDocumentBuf, doc},
};
use secrecy::SecretString;
use shared::name::{DatabaseName, HostName, UserName};
use uuid::Uuid;

use super::{
    Chosen, LoadError, Loaded, Loader, Next, Survey, Tally, Way, compare, index,
    rename::{Base, apply, next, plan, plan_undo, views_after, views_before},
    survey::{drop_asides, drop_staged},
};
use crate::engine::{
    Connection, EngineKind, ErrorCode, MongoAccess, SessionTag, TlsMode,
    mongodb::archive::{Event, Framing, Header, Kind, Metadata, Namespace, Prelude, Reader},
};

const AUCTION: &[u8] = include_bytes!("../archive/fixtures/auction.archive");

/// A job's first attempt, of a server without users.
pub(super) fn at(job: Uuid) -> Connection {
    Connection {
        engine: EngineKind::Mongodb,
        host: HostName::parse("localhost").unwrap(),
        port: 1,
        user: UserName::parse("u").unwrap(),
        password: SecretString::from(""),
        tls: TlsMode::Disable,
        ca_pem: None,
        maintenance_database: DatabaseName::parse("admin").unwrap(),
        mongodb: MongoAccess::default(),
        session: SessionTag { job, epoch: 1 },
        installation: Uuid::now_v7(),
    }
}

/// A database of the test's own.
struct Scene {
    database: Database,
    at: Connection,
}

impl Scene {
    async fn set() -> Self {
        let Ok(uri) = std::env::var("HOLDFAST_DEV_MONGO_URL") else {
            panic!("HOLDFAST_DEV_MONGO_URL names the MongoDB-wire server to test against; it is not set");
        };
        let client = Client::with_uri_str(uri).await.unwrap();
        let database = client.database(&format!("restored_{}", Uuid::now_v7().simple()));
        Self { database, at: at(Uuid::now_v7()) }
    }

    async fn load(&self, archive: &[u8], only: &[&str]) -> Result<Loaded, LoadError> {
        let only: BTreeSet<String> = only.iter().map(ToString::to_string).collect();
        self.load_chosen(archive, Chosen { database: "auction".to_owned(), only, must_wait: false }).await
    }

    async fn load_chosen(&self, archive: &[u8], chosen: Chosen) -> Result<Loaded, LoadError> {
        let mut loader = Loader::new(self.database.clone(), self.at.session, chosen);
        let outcome = loader.run(archive).await;
        loader.settle().await;
        outcome
    }

    fn base(&self, replaces: bool, whole: bool) -> Base {
        let database = DatabaseName::parse(self.database.name()).unwrap();
        Base { database, replaces, whole, keep_old_s: 60, kept_id: None }
    }

    async fn go(&self, renames: &shared::job::Renames, way: Way) {
        let mut survey = Survey::of(&self.database).await.unwrap();
        views_before(&self.database, renames, way).await.unwrap();
        loop {
            match next(renames, &survey, way) {
                Next::Done => break,
                Next::Blocked(why) => panic!("{why}"),
                step => apply(&self.database, &step, &mut survey).await.unwrap(),
            }
        }
        views_after(&self.database, renames, way).await.unwrap();
    }

    /// Documents as bytes, sorted, of all collections that are somebody's.
    async fn contents(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        let survey = Survey::of(&self.database).await.unwrap();
        let mut all = BTreeMap::new();
        for name in survey.collections() {
            let found = self.database.collection::<RawDocumentBuf>(name).find(doc! {}).batch_size(1).await.unwrap();
            let found: Vec<RawDocumentBuf> = found.try_collect().await.unwrap();
            let mut bytes: Vec<Vec<u8>> = found.into_iter().map(RawDocumentBuf::into_bytes).collect();
            bytes.sort();
            all.insert(name.to_owned(), bytes);
        }
        all
    }

    async fn indexes(&self, name: &str) -> BTreeSet<String> {
        let listed = self.database.run_cursor_command(doc! { "listIndexes": name }).await.unwrap();
        let listed: Vec<Document> = listed.try_collect().await.unwrap();
        listed.into_iter().map(|index| index.get_str("name").unwrap().to_owned()).collect()
    }

    async fn nothing_of_ours(&self) -> bool {
        Survey::of(&self.database).await.unwrap().ours().count() == 0
    }

    async fn end(self) {
        self.database.drop().await.unwrap();
    }
}

/// What an archive holds, by another way than the loader's.
async fn archived(archive: &[u8]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut reader = Reader::open(archive).await.unwrap();
    let names: Vec<String> = reader.prelude().namespaces.iter().map(|one| one.collection.clone()).collect();
    let mut all: BTreeMap<String, Vec<Vec<u8>>> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    while let Some(event) = reader.next().await.unwrap() {
        if let Event::Document { namespace, bytes } = event {
            all.get_mut(&names[namespace]).unwrap().push(bytes.to_vec());
        }
    }
    for documents in all.values_mut() {
        documents.sort();
    }
    all
}

#[tokio::test]
async fn an_archive_of_mongodump_comes_out_as_it_went_in() {
    let scene = Scene::set().await;
    let loaded = scene.load(AUCTION, &[]).await.unwrap();
    assert!(scene.contents().await.is_empty(), "something has its name already");
    assert_eq!(compare::compare(&scene.database, &loaded, true).await.unwrap(), Vec::<String>::new());
    index::build(&scene.database, &loaded).await.unwrap();
    let survey = Survey::of(&scene.database).await.unwrap();
    let renames = plan(&scene.at, &survey, &loaded, scene.base(false, true)).unwrap();
    scene.go(&renames, Way::Forward).await;
    assert_eq!(scene.contents().await, archived(AUCTION).await);
    let names = ["_id_", "created_-1_price_1", "expires_1", "items_public_id"];
    assert_eq!(scene.indexes("items").await, names.map(ToOwned::to_owned).into());
    assert!(scene.nothing_of_ours().await);
    scene.end().await;
}

#[tokio::test]
async fn what_makes_way_is_put_aside_and_put_back() {
    let scene = Scene::set().await;
    for name in ["items", "own.ключ"] {
        scene.database.collection(name).insert_one(doc! { "_id": 1, "was": name }).await.unwrap();
    }
    let old = scene.contents().await;
    let loaded = scene.load(AUCTION, &["items", "empty"]).await.unwrap();
    assert_eq!(loaded.collections.len(), 2);
    let survey = Survey::of(&scene.database).await.unwrap();
    // The whole database: what the archive's choice does not have makes way too.
    let renames = plan(&scene.at, &survey, &loaded, scene.base(true, true)).unwrap();
    scene.go(&renames, Way::Forward).await;
    let new = scene.contents().await;
    assert_eq!(new.keys().collect::<Vec<_>>(), ["empty", "items"]);
    assert_eq!(new["items"].len(), 2000);

    let survey = Survey::of(&scene.database).await.unwrap();
    let later = Connection { session: SessionTag { job: Uuid::now_v7(), epoch: 1 }, ..scene.at.clone() };
    let undo = plan_undo(&later, &survey, &renames, scene.base(true, true)).unwrap();
    scene.go(&undo, Way::Forward).await;
    assert_eq!(scene.contents().await, old);
    assert!(drop_asides(&scene.database, later.session.job).await.unwrap() >= 2);
    assert_eq!(drop_asides(&scene.database, scene.at.session.job).await.unwrap(), 0);
    assert!(scene.nothing_of_ours().await);
    assert_eq!(scene.contents().await, old);
    scene.end().await;
}

#[tokio::test]
async fn what_is_cut_off_changes_nothing_and_leaves_nothing() {
    let scene = Scene::set().await;
    scene.database.collection("items").insert_one(doc! { "_id": "mine" }).await.unwrap();
    let old = scene.contents().await;
    for length in [0, 3, 500, AUCTION.len() / 2, AUCTION.len() - 1] {
        let failed = scene.load(&AUCTION[..length], &[]).await.unwrap_err();
        assert!(matches!(failed, LoadError::Archive(_)), "at {length}: {failed}");
        assert_eq!(scene.contents().await, old, "at {length}");
        drop_staged(&scene.database, scene.at.session.job, None).await.unwrap();
        assert!(scene.nothing_of_ours().await, "at {length}");
    }
    scene.end().await;
}

#[tokio::test]
async fn whoever_wakes_up_takes_away_what_is_his_and_not_his_successors() {
    let scene = Scene::set().await;
    let readings = [doc! { "_id": 1, "control": { "version": 1, "min": { "v": 1 }, "max": { "v": 2 } }, "data": {} }];
    let options = doc! { "timeseries": { "timeField": "t" } };
    let archive = made(&[
        ("lots", Kind::Collection, doc! {}, &[doc! { "_id": 1 }]),
        ("readings", Kind::Timeseries, options, &readings),
    ]);
    let job = scene.at.session.job;
    let first = scene.load(&archive, &[]).await.unwrap();
    // The next attempt begins with what the first has left.
    drop_staged(&scene.database, job, Some(2)).await.unwrap();
    assert!(scene.nothing_of_ours().await && Survey::of(&scene.database).await.unwrap().found.is_empty());
    let session = SessionTag { job, epoch: 2 };
    let chosen = Chosen { database: "auction".to_owned(), ..Chosen::default() };
    let second = Loader::new(scene.database.clone(), session, chosen).run(archive.as_slice()).await.unwrap();
    let before = Survey::of(&scene.database).await.unwrap();
    drop_staged(&scene.database, job, Some(scene.at.session.epoch + 1)).await.unwrap();
    assert_eq!(Survey::of(&scene.database).await.unwrap(), before);
    assert_eq!(compare::compare(&scene.database, &second, true).await.unwrap(), Vec::<String>::new());
    // Of the first no ordinary collection is there to compare with; of the series, which is the same, the second's.
    assert!(compare::compare(&scene.database, &first, true).await.is_err());
    drop_staged(&scene.database, job, None).await.unwrap();
    scene.end().await;
}

#[tokio::test]
async fn what_is_missing_or_cannot_be_renamed_is_refused_before_anything_is_written() {
    let scene = Scene::set().await;
    let error = |loaded: Result<Loaded, LoadError>| match loaded {
        Err(LoadError::Engine(error)) => (error.code(), error.to_string()),
        other => panic!("{other:?}"),
    };
    let (code, message) = error(scene.load(AUCTION, &["items", "Items"]).await);
    assert_eq!(code, ErrorCode::TableNotInSave, "{message}");
    let series = made(&[("readings", Kind::Timeseries, doc! { "timeseries": { "timeField": "t" } }, &[])]);
    let waiting = Chosen { database: "auction".to_owned(), must_wait: true, ..Chosen::default() };
    let (code, message) = error(scene.load_chosen(&series, waiting).await);
    assert_eq!(code, ErrorCode::CollectionUnsupported, "{message}");
    let mut foreign = Loader::new(
        scene.database.clone(),
        scene.at.session,
        Chosen { database: "another".to_owned(), ..Chosen::default() },
    );
    let (code, message) = error(foreign.run(AUCTION).await);
    assert_eq!(code, ErrorCode::RestoreIncompatible, "{message}");
    assert!(Survey::of(&scene.database).await.unwrap().is_free());
    assert!(scene.nothing_of_ours().await);
}

#[tokio::test]
async fn a_document_that_is_twice_in_the_archive_is_restored_once() {
    let scene = Scene::set().await;
    let documents = [doc! { "_id": 1, "a": 1 }, doc! { "_id": 2 }, doc! { "_id": 1, "a": 1 }];
    let archive = made(&[("lots", Kind::Collection, doc! {}, &documents)]);
    let loaded = scene.load(&archive, &[]).await.unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    let mut expected = Tally::of(&documents[0].to_vec().unwrap());
    expected.add(Tally::of(&documents[1].to_vec().unwrap()));
    assert_eq!(loaded.collections[0].tally, expected);
    assert_eq!(compare::compare(&scene.database, &loaded, true).await.unwrap(), Vec::<String>::new());
    // What somebody changes meanwhile is found.
    let staged = scene.database.collection::<Document>(&loaded.collections[0].staged);
    staged.update_one(doc! { "_id": 2 }, doc! { "$set": { "b": 1 } }).await.unwrap();
    let differs = compare::compare(&scene.database, &loaded, true).await.unwrap_err();
    assert_eq!(differs.code(), ErrorCode::InventoryMismatch, "{differs}");
    scene.end().await;
}

/// An archive with these collections.
fn made(collections: &[(&str, Kind, Document, &[Document])]) -> Vec<u8> {
    let namespace = |(name, kind, options, _): &(&str, Kind, Document, &[Document])| {
        let metadata = Metadata {
            options: options.clone(),
            indexes: Vec::new(),
            uuid: None,
            collection_name: (*name).to_owned(),
            kind: kind.clone(),
        };
        Namespace {
            db: "auction".to_owned(),
            collection: (*name).to_owned(),
            metadata_json: metadata.to_json().unwrap(),
            kind: kind.clone(),
        }
    };
    let header =
        Header { concurrent_collections: 1, server_version: "7.0".to_owned(), tool_version: "test".to_owned() };
    let prelude = Prelude { header, namespaces: collections.iter().map(namespace).collect() };
    let mut out = prelude.encode();
    let mut framing = Framing::new(&prelude);
    for (at, (.., documents)) in collections.iter().enumerate() {
        let mut crc = crc64fast::Digest::new();
        for document in *documents {
            let bytes = document.to_vec().unwrap();
            framing.before(at, &mut out).unwrap();
            crc.write(&bytes);
            out.extend_from_slice(&bytes);
        }
        framing.end(at, crc.sum64(), &mut out).unwrap();
    }
    out
}
