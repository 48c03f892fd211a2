//! The conformance suite on the back ends that are at hand.

use std::sync::Arc;

use super::conformance::conformance;
use super::faulty::Faulty;
use super::*;

async fn file_store() -> (tempfile::TempDir, FileStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = FileStore::open(Slug::parse("disk").unwrap(), dir.path().to_owned(), ReadBack::Full).await.unwrap();
    (dir, store)
}

#[tokio::test]
async fn file_conforms_and_leaves_no_temporary_file_of_an_aborted_upload() {
    let (_dir, store) = file_store().await;
    conformance(&store).await;
}

#[tokio::test]
async fn a_wrapper_without_a_script_conforms() {
    let (_dir, store) = file_store().await;
    conformance(&Faulty::new(Arc::new(store), Vec::new())).await;
}

#[tokio::test]
async fn a_directory_that_is_not_mounted_is_unreachable_and_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not-mounted");
    let error = FileStore::open(Slug::parse("disk").unwrap(), root.clone(), ReadBack::Full).await.unwrap_err();
    assert_eq!(error.code(), "store_unreachable");
    assert!(!root.exists());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "tests find the development server by an environment variable")]
async fn gridfs_conforms() {
    let Ok(uri) = std::env::var("HOLDFAST_DEV_MONGO_URL") else {
        panic!("HOLDFAST_DEV_MONGO_URL names the MongoDB-wire server to test against; it is not set");
    };
    let settings = GridFsSettings {
        uri: uri.into(),
        database: format!("conformance_{}", uuid::Uuid::now_v7().simple()),
        bucket: "fs".to_owned(),
        chunk_bytes: 1 << 20,
        read_back: ReadBack::Full,
    };
    let store = GridFsStore::open(Slug::parse("grid").unwrap(), &settings).await.unwrap();
    conformance(&store).await;
}
