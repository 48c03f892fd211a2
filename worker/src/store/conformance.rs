//! What every back end must do. One function, run on each; it panics where a store does not conform.
#![expect(clippy::unwrap_used, reason = "a test suite that other crates run too")]

use bytes::Bytes;
use futures_util::TryStreamExt;
use shared::id::InstallationId;
use shared::name::StoreKey;
use tokio_util::sync::CancellationToken;

use super::{Fault, Removed, Store, Upload, UploadRef, Whole, put, require_ours};

/// Runs the suite on a store that nobody has claimed. Keys are fresh, so that a store can be used more than once, but
/// then `claim` is tested only the first time.
pub async fn conformance(store: &dyn Store) {
    let base = uuid::Uuid::now_v7().simple().to_string();
    let key = |name: &str| StoreKey::parse(format!("{base}/{name}")).unwrap();
    sizes_come_back_whole(store, &key).await;
    what_is_not_committed_is_invisible(store, &key("a/unfinished")).await;
    a_dead_upload_is_discarded(store, &key("a/dead")).await;
    a_key_is_written_once(store, &key("a/once")).await;
    a_wrong_length_is_refused(store, &key("a/short")).await;
    cancelling_stops_an_upload(store, &key("a/cancelled")).await;
    listing_is_by_prefix_and_in_order(store, &base, &key).await;
    reading_begins_where_it_is_told(store, &key("a/from")).await;
    deletion_is_repeatable(store, &key("a/once")).await;
    the_first_installation_keeps_the_store(store).await;
}

async fn open(store: &dyn Store, key: &StoreKey) -> (UploadRef, Box<dyn Upload>) {
    let at = store.prepare(key).await.unwrap();
    assert_eq!(UploadRef::parse(at.as_str()).unwrap(), at, "a reference must survive being a row");
    let upload = store.upload(key, &at, &CancellationToken::new()).await.unwrap();
    (at, upload)
}

async fn content(store: &dyn Store, key: &StoreKey) -> Vec<u8> {
    let blocks = store.read(key, &CancellationToken::new()).await.unwrap();
    blocks
        .try_fold(Vec::new(), |mut all, block| async move {
            all.extend_from_slice(&block);
            Ok(all)
        })
        .await
        .unwrap()
}

async fn reading_begins_where_it_is_told(store: &dyn Store, key: &StoreKey) {
    const MIB: usize = 1 << 20;
    let sent = bytes(5 * MIB + 3);
    let at = store.prepare(key).await.unwrap();
    put(store, key, &at, sent.clone(), &CancellationToken::new()).await.unwrap();
    for offset in [0, 1, MIB - 1, MIB, 2 * MIB, 2 * MIB + 7, 4 * MIB, sent.len() - 1] {
        let from = store.read_from(key, offset as u64, &CancellationToken::new()).await.unwrap();
        let read: Vec<Bytes> = from.try_collect().await.unwrap();
        assert!(read.concat() == sent[offset..], "from byte {offset}");
    }
}

/// Bytes that repeat nowhere near a chunk's length.
fn bytes(len: usize) -> Bytes {
    (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap_or_default()).collect()
}

async fn sizes_come_back_whole(store: &dyn Store, key: &impl Fn(&str) -> StoreKey) {
    const MIB: usize = 1 << 20;
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 3] {
        let (key, sent) = (key(&format!("size/{size}")), bytes(size));
        let (_, mut upload) = open(store, &key).await;
        // Pieces that fit no chunk.
        for piece in sent.chunks(700_001) {
            upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        if size % 2 == 1 {
            upload.end().await.unwrap();
            assert_eq!(store.stat(&key).await.unwrap(), None, "the end of the bytes is no commit");
        }
        let stored = upload.commit(&Whole::of_bytes(&sent)).await.unwrap();
        assert_eq!(stored.bytes, size as u64);
        assert_eq!(store.stat(&key).await.unwrap().unwrap().bytes, size as u64);
        assert!(content(store, &key).await == sent, "{size} bytes came back changed");
    }
}

async fn what_is_not_committed_is_invisible(store: &dyn Store, key: &StoreKey) {
    let (_, mut upload) = open(store, key).await;
    upload.write(bytes(3 << 20)).await.unwrap();
    let missing = store.read(key, &CancellationToken::new()).await.err().unwrap();
    assert_eq!((missing.code(), missing.is_permanent()), ("object_missing", true));
    assert_eq!(store.stat(key).await.unwrap(), None);
    upload.end().await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(store.stat(key).await.unwrap(), None);
}

async fn a_dead_upload_is_discarded(store: &dyn Store, key: &StoreKey) {
    let (at, mut upload) = open(store, key).await;
    upload.write(bytes(3 << 20)).await.unwrap();
    store.discard(key, &at).await.unwrap();
    store.discard(key, &at).await.unwrap();
    // Its owner was not dead after all, and must not publish what is left.
    upload.commit(&Whole::of_exit()).await.unwrap_err();
    assert_eq!(store.stat(key).await.unwrap(), None);
    let (at, upload) = open(store, key).await;
    upload.commit(&Whole::of_bytes(b"")).await.unwrap();
    store.discard(key, &at).await.unwrap();
    assert_eq!(store.stat(key).await.unwrap().unwrap().bytes, 0, "discard touched a committed object");
}

async fn a_key_is_written_once(store: &dyn Store, key: &StoreKey) {
    let cancel = CancellationToken::new();
    let at = store.prepare(key).await.unwrap();
    put(store, key, &at, bytes(10), &cancel).await.unwrap();
    let (_, mut second) = open(store, key).await;
    second.write(bytes(20)).await.unwrap();
    let refused = second.commit(&Whole::of_exit()).await.unwrap_err();
    assert_eq!(refused.code(), "object_exists");
    assert!(content(store, key).await == bytes(10), "the first object was replaced");
}

async fn a_wrong_length_is_refused(store: &dyn Store, key: &StoreKey) {
    let (_, mut upload) = open(store, key).await;
    upload.write(bytes(10)).await.unwrap();
    let refused = upload.commit(&Whole::of_bytes(&bytes(11))).await.unwrap_err();
    assert!(matches!(refused.fault(), Fault::Incomplete { .. }), "{refused}");
    assert_eq!(store.stat(key).await.unwrap(), None);
}

async fn cancelling_stops_an_upload(store: &dyn Store, key: &StoreKey) {
    let cancel = CancellationToken::new();
    let at = store.prepare(key).await.unwrap();
    let mut upload = store.upload(key, &at, &cancel).await.unwrap();
    upload.write(bytes(10)).await.unwrap();
    cancel.cancel();
    assert_eq!(upload.write(bytes(10)).await.unwrap_err().code(), "cancelled");
    upload.abort().await.unwrap();
    assert_eq!(store.stat(key).await.unwrap(), None);
}

async fn listing_is_by_prefix_and_in_order(store: &dyn Store, base: &str, key: &impl Fn(&str) -> StoreKey) {
    for name in ["l/b/2", "l/a", "l/b/1", "l/b.x", "lx"] {
        let key = key(name);
        let at = store.prepare(&key).await.unwrap();
        put(store, &key, &at, bytes(name.len()), &CancellationToken::new()).await.unwrap();
    }
    let names = |found: Vec<super::Listed>| found.into_iter().map(|l| l.key).collect::<Vec<_>>();
    let all = names(store.list(&format!("{base}/l/"), 10).await.unwrap());
    assert_eq!(all, ["l/a", "l/b.x", "l/b/1", "l/b/2"].map(|name| format!("{base}/{name}")));
    let two = names(store.list(&format!("{base}/l"), 2).await.unwrap());
    assert_eq!(two, all.get(..2).unwrap());
    assert!(store.list(&format!("{base}/nothing"), 10).await.unwrap().is_empty());
    // Page by page, as whoever reads all of a large store does.
    let (mut after, mut paged) = (String::new(), Vec::new());
    while let Some(last) = store.list_after(&format!("{base}/l/"), &after, 1).await.unwrap().pop() {
        after.clone_from(&last.key);
        paged.push(last);
    }
    assert_eq!(names(paged), all);
}

async fn deletion_is_repeatable(store: &dyn Store, key: &StoreKey) {
    assert_eq!(store.delete(key).await.unwrap(), Removed::Deleted);
    assert_eq!(store.delete(key).await.unwrap(), Removed::Absent);
    assert_eq!(store.stat(key).await.unwrap(), None);
}

async fn the_first_installation_keeps_the_store(store: &dyn Store) {
    let (ours, theirs) = (InstallationId::generate(), InstallationId::generate());
    if store.marker().await.unwrap().is_none() {
        assert_eq!(require_ours(store, ours).await.unwrap().installation, ours);
        assert_eq!(require_ours(store, ours).await.unwrap().installation, ours);
        assert_eq!(store.marker().await.unwrap().unwrap().installation, ours);
    }
    let refused = require_ours(store, theirs).await.unwrap_err();
    assert_eq!((refused.code(), refused.is_permanent()), ("foreign_installation", true));
    another_installation_adopts_the_store(store, theirs).await;
}

async fn another_installation_adopts_the_store(store: &dyn Store, theirs: InstallationId) {
    let owner = store.marker().await.unwrap().unwrap().installation;
    let stranger = InstallationId::generate();
    let refused = store.adopt(stranger, theirs).await.unwrap_err();
    assert_eq!(*refused.fault(), Fault::Foreign { owner }, "the marker was not the stranger's");
    assert_eq!(store.marker().await.unwrap().unwrap().installation, owner);
    assert_eq!(store.adopt(owner, theirs).await.unwrap().installation, theirs);
    assert_eq!(require_ours(store, theirs).await.unwrap().installation, theirs);
    assert_eq!(require_ours(store, owner).await.unwrap_err().code(), "foreign_installation");
    // Of two that adopt from the same owner only the first may think it has.
    assert_eq!(store.adopt(owner, stranger).await.unwrap_err().code(), "foreign_installation");
    store.adopt(theirs, owner).await.unwrap();
}
