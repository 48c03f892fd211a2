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

/// The development server's bucket, under a prefix that nobody has used.
#[expect(clippy::disallowed_methods, reason = "tests find the development server by environment variables")]
fn s3_settings() -> Option<shared::config::S3> {
    let setting = |name: &str| std::env::var(format!("HOLDFAST_DEV_S3_{name}")).ok();
    let Some(endpoint) = setting("URL") else {
        eprintln!("skipped: no S3 server; `deploy/dev/stack up` starts one where Go is installed");
        return None;
    };
    let prefix = format!("conformance/{}", uuid::Uuid::now_v7().simple());
    Some(shared::config::S3 {
        endpoint: Some(endpoint),
        bucket: setting("BUCKET").unwrap(),
        prefix: Some(StoreKey::parse(prefix).unwrap()),
        region: "us-east-1".to_owned(),
        path_style: true,
        keys: Some((setting("ACCESS_KEY_ID").unwrap().into(), setting("SECRET_ACCESS_KEY").unwrap().into())),
        ca_file: None,
        allow_public: false,
    })
}

#[tokio::test]
async fn s3_conforms_and_so_does_the_wrapper_around_it() {
    let Some(settings) = s3_settings() else { return };
    let store = S3Store::open(Slug::parse("cloud").unwrap(), &settings, ReadBack::Full).unwrap();
    conformance(&store).await;
    conformance(&Faulty::new(Arc::new(store), Vec::new())).await;
}

#[tokio::test]
async fn s3_parts_in_flight_come_back_in_order_and_a_manifest_is_put_once() {
    let Some(settings) = s3_settings() else { return };
    let store = S3Store::open(Slug::parse("cloud").unwrap(), &settings, ReadBack::Full).unwrap();
    let cancel = CancellationToken::new();
    // Five parts and a rest, more than are in memory at once.
    let key = StoreKey::parse("parts/dump.0001").unwrap();
    let at = store.prepare(&key).await.unwrap();
    let mut upload = store.upload(&key, &at, &cancel).await.unwrap();
    let (mut sent, mut found) = (blake3::Hasher::new(), blake3::Hasher::new());
    for n in 0..85_u32 {
        let block: Bytes =
            (0..1 << 18).flat_map(|at: u32| (at.wrapping_mul(2_654_435_761) ^ n).to_le_bytes()).collect();
        sent.update(&block);
        upload.write(block).await.unwrap();
    }
    assert_eq!(upload.commit(&Whole::of_exit()).await.unwrap().bytes, 85 << 20);
    let mut blocks = store.read(&key, &cancel).await.unwrap();
    while let Some(block) = futures_util::StreamExt::next(&mut blocks).await {
        found.update(&block.unwrap());
    }
    assert_eq!(sent.finalize(), found.finalize());
    // An upload whose row outlived its worker.
    let left = store.prepare(&StoreKey::parse("parts/dump.0002").unwrap()).await.unwrap();
    assert!(left.as_str().starts_with("multipart:"), "{left}");
    store.discard(&StoreKey::parse("parts/dump.0002").unwrap(), &left).await.unwrap();

    let manifest = StoreKey::parse("parts/manifest.json").unwrap();
    let at = store.prepare(&manifest).await.unwrap();
    put(&store, &manifest, &at, Bytes::from_static(b"{}"), &cancel).await.unwrap();
    // The same again is the same: its first answer may have been lost.
    put(&store, &manifest, &at, Bytes::from_static(b"{}"), &cancel).await.unwrap();
    let other = put(&store, &manifest, &at, Bytes::from_static(b"[]"), &cancel).await.unwrap_err();
    assert_eq!(other.code(), "object_exists");
}

#[tokio::test]
async fn s3_says_what_is_wrong_with_its_settings_and_keeps_its_secret() {
    let Some(settings) = s3_settings() else { return };
    let secret = "a-secret-that-nobody-may-read";
    let wrong_key = shared::config::S3 { keys: Some(("holdfast".into(), secret.into())), ..settings.clone() };
    let no_bucket = shared::config::S3 { bucket: "there-is-none".to_owned(), ..settings.clone() };
    for (settings, code) in [(wrong_key, "store_denied"), (no_bucket, "store_missing")] {
        let store = S3Store::open(Slug::parse("cloud").unwrap(), &settings, ReadBack::Full).unwrap();
        let key = StoreKey::parse("a/b").unwrap();
        let errors = [
            store.inspect().await.unwrap_err(),
            store.claim(InstallationId::generate()).await.unwrap_err(),
            store.prepare(&key).await.unwrap_err(),
            // Of a bucket that is not there nobody may believe that its objects are deleted.
            store.stat(&key).await.unwrap_err(),
            store.delete(&key).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!((error.code(), error.is_permanent()), (code, true), "{error} {error:?}");
            assert!(!format!("{error} {error:?} {store:?}").contains(secret));
        }
    }
    let nobody = shared::config::S3 { endpoint: Some("http://127.0.0.1:1".to_owned()), ..settings };
    let store = S3Store::open(Slug::parse("cloud").unwrap(), &nobody, ReadBack::Full).unwrap();
    let (key, upload) = (StoreKey::parse("a/b").unwrap(), UploadRef::multipart("x"));
    let error = store.discard(&key, &upload).await.unwrap_err();
    assert_eq!((error.code(), error.is_permanent()), ("store_unreachable", false), "{error}");
}

#[test]
fn a_reference_to_an_upload_survives_being_a_row_and_nothing_else_is_one() {
    for id in ["c0f0b28c-216f-457c-a25c-54ada8ba9ff1", "2~Xk_9.-", "a/../b", "%41", "é"] {
        let at = UploadRef::multipart(id);
        assert!(!at.as_str().contains('/'), "{at}");
        assert_eq!(UploadRef::parse(at.as_str()).unwrap().multipart_id().as_deref(), Some(id));
    }
    for bad in ["", "multipart:", "multipart:a/b", "multipart:%4", "multipart:%zz", "multipart:%41", "../x"] {
        assert!(UploadRef::parse(bad).is_err(), "{bad:?} was accepted");
    }
    assert_eq!(UploadRef::parse(UploadRef::generate().as_str()).unwrap().multipart_id(), None);
}
