//! The pipeline end to end on a file store, with damage and failures at every place.

use std::sync::Arc;

use bytes::Bytes;
use shared::manifest::Encoding;
use shared::name::{Slug, StoreKey};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::store::faulty::{Faulty, Mischief, Op};
use crate::store::{Fault, FileStore, ReadBack, Store, Whole};

mod branches;

const MIB: usize = 1 << 20;

struct Bench {
    dir: tempfile::TempDir,
    disk: Arc<dyn Store>,
    cancel: CancellationToken,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = FileStore::open(Slug::parse("disk").unwrap(), dir.path().to_owned(), ReadBack::Full).await.unwrap();
        Self { dir, disk: Arc::new(disk), cancel: CancellationToken::new() }
    }

    fn faulty(&self, op: Op, at: u64, what: Mischief) -> Arc<dyn Store> {
        Arc::new(Faulty::new(Arc::clone(&self.disk), vec![(op, at, what)]))
    }

    async fn upload(&self, store: &dyn Store, key: &str) -> Destination {
        let key = StoreKey::parse(key).unwrap();
        let at = store.prepare(&key).await.unwrap();
        Destination::plain(store.name().clone(), store.upload(&key, &at, &self.cancel).await.unwrap())
    }

    async fn dump(&self, raw: &[u8], copies: Vec<Destination>, required: usize) -> Result<Dumped, StreamError> {
        let plan = DumpPlan { required, ..DumpPlan::default() };
        dump(raw, copies, plan, Arc::default(), &self.cancel).await
    }

    /// Saves `raw` under `key` and says what the record would.
    async fn save(&self, raw: &[u8], key: &str) -> Expected {
        let copy = self.upload(&*self.disk, key).await;
        let dumped = self.dump(raw, vec![copy], 1).await.unwrap();
        let raw = (dumped.raw_bytes, dumped.blake3);
        let (_, written) = dumped.copies.into_iter().next().unwrap();
        commit(written.unwrap(), raw, vec![Encoding::Zstd]).await
    }

    async fn restore(
        &self,
        store: &dyn Store,
        key: &str,
        expected: &Expected,
    ) -> (Vec<u8>, Result<Restored, StreamError>) {
        let mut sink = Vec::new();
        let stored = store.read(&StoreKey::parse(key).unwrap(), &self.cancel).await.unwrap();
        let done = restore(stored, expected, None, &mut sink, Arc::default(), &self.cancel).await;
        (sink, done)
    }

    /// No temporary file and no object is left.
    fn is_clean(&self) -> bool {
        std::fs::read_dir(self.dir.path().join(".tmp")).unwrap().next().is_none()
    }
}

/// Commits what was sent as one copy, and says what the record would.
async fn commit(written: Vec<WrittenObject>, (raw_bytes, blake3): (u64, Blake3), encodings: Vec<Encoding>) -> Expected {
    let mut objects = Vec::new();
    for WrittenObject { upload, sent } in written {
        let stored = upload.commit(&Whole::of_exit()).await.unwrap();
        assert_eq!(stored.bytes, sent.bytes);
        objects.push(ExpectedObject { stored_bytes: sent.bytes, sha256: sent.sha256 });
    }
    Expected { objects, encodings, raw_bytes, blake3 }
}

/// The one object of the one copy.
fn only(dumped: Dumped) -> WrittenObject {
    let (_, written) = dumped.copies.into_iter().next().unwrap();
    written.unwrap().into_iter().next().unwrap()
}

/// Incompressible bytes that are the same each time.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"noise").finalize_xof().fill(&mut bytes);
    bytes
}

fn text(len: usize) -> Vec<u8> {
    (0_u64..).flat_map(|n| format!("{n}\tuser-{}\tactive\n", n % 977).into_bytes()).take(len).collect()
}

#[tokio::test]
async fn sizes_round_trip() {
    let bench = Bench::new().await;
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB, 40 * MIB] {
        for (kind, raw) in [("noise", noise(size)), ("text", text(size))] {
            let key = format!("{kind}/{size}");
            let expected = bench.save(&raw, &key).await;
            assert_eq!(expected.raw_bytes, size as u64);
            let (found, done) = bench.restore(&*bench.disk, &key, &expected).await;
            done.unwrap();
            assert!(found == raw, "{key} came back changed");
        }
    }
}

#[tokio::test]
async fn the_read_back_finds_what_the_store_did_to_the_bytes() {
    let bench = Bench::new().await;
    let raw = noise(40 * MIB);
    let flip = |block| (Op::ReadBlock, block, Mischief::FlipBit(77));
    let short = (Op::Write, 9, Mischief::ShortWrite(MIB - 1));
    for (n, (what, good)) in
        [(None, true), (Some(short), false), (Some(flip(1)), false), (Some(flip(40)), false)].into_iter().enumerate()
    {
        // The first writes straight to the disk, whose store reads back while it writes.
        let store = match what.clone() {
            None => Arc::clone(&bench.disk),
            Some((op, at, what)) => bench.faulty(op, at, what),
        };
        let name = format!("{n}");
        let copy = bench.upload(&*store, &name).await;
        let dumped = bench.dump(&raw, vec![copy], 1).await.unwrap();
        let WrittenObject { upload, sent } = only(dumped);
        let sent = StoredBytes { bytes: sent.bytes, blake3: sent.blake3 };
        let stored = upload.commit(&Whole::of_exit()).await.unwrap();
        assert_eq!(stored.read_back.is_some(), what.is_none());
        let key = StoreKey::parse(name).unwrap();
        let checked = read_back(&*store, &key, stored, sent, Arc::default(), &bench.cancel).await;
        assert_eq!(checked.is_ok(), good, "{what:?}: {checked:?}");
        assert!(good || checked.unwrap_err().code() == "object_corrupt");
    }
}

#[tokio::test]
async fn a_file_that_changes_under_the_upload_is_not_taken_for_what_was_sent() {
    let bench = Bench::new().await;
    let raw = noise(40 * MIB);
    let copy = bench.upload(&*bench.disk, "a").await;
    let temp = std::fs::read_dir(bench.dir.path().join(".tmp")).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(temp).unwrap();
    // The last window, from 32 MiB on, is read when all was written: until then anybody may write there.
    let (mut child, source) = tokio::io::duplex(MIB);
    let meddling = async {
        tokio::io::AsyncWriteExt::write_all(&mut child, &raw).await.unwrap();
        while file.metadata().unwrap().len() < 35 * MIB as u64 {
            tokio::task::yield_now().await;
        }
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, 34 * MIB as u64).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[byte[0] ^ 1], 34 * MIB as u64).unwrap();
        drop(child);
    };
    let running = dump(source, vec![copy], DumpPlan::default(), Arc::default(), &bench.cancel);
    let (dumped, ()) = tokio::join!(running, meddling);
    let WrittenObject { upload, sent } = only(dumped.unwrap());
    let sent = StoredBytes { bytes: sent.bytes, blake3: sent.blake3 };
    let stored = upload.commit(&Whole::of_exit()).await.unwrap();
    let key = StoreKey::parse("a").unwrap();
    let checked = read_back(&*bench.disk, &key, stored, sent, Arc::default(), &bench.cancel).await;
    assert_eq!(checked.unwrap_err().code(), "object_corrupt");
}

#[tokio::test]
async fn damage_is_found_before_the_last_block_is_written() {
    let bench = Bench::new().await;
    let raw = noise(5 * MIB);
    let expected = bench.save(&raw, "a").await;
    for what in [Mischief::Truncate, Mischief::FlipBit(0), Mischief::FlipBit(4_000_001)] {
        for block in 1..=5 {
            let store = bench.faulty(Op::ReadBlock, block, what.clone());
            let (found, done) = bench.restore(&*store, "a", &expected).await;
            let error = done.unwrap_err();
            assert_eq!((error.code(), error.is_permanent()), ("object_corrupt", true), "{what:?} {block}: {error}");
            assert!(found.len() < raw.len(), "{what:?} {block}: the sink got every byte");
        }
    }
    let extra = bench.faulty(Op::ReadBlock, 7, Mischief::Extra(3));
    let (found, done) = bench.restore(&*extra, "a", &expected).await;
    assert!(matches!(done, Err(StreamError::Corrupt { what: "stored length", .. })), "{done:?}");
    assert!(found.len() < raw.len());
}

#[tokio::test]
async fn an_object_that_grows_beyond_its_record_stops_at_once() {
    let bench = Bench::new().await;
    let mut expected = bench.save(&vec![0; 40 * MIB], "bomb").await;
    expected.raw_bytes = 2 * MIB as u64;
    let (found, done) = bench.restore(&*bench.disk, "bomb", &expected).await;
    assert!(matches!(done, Err(StreamError::Corrupt { what: "raw length", .. })), "{done:?}");
    assert!(found.len() <= 2 * MIB);
}

#[tokio::test]
async fn a_store_that_fails_at_any_block_fails_the_dump_and_leaves_nothing() {
    let bench = Bench::new().await;
    let raw = noise(21 * MIB);
    for block in 1..=20 {
        let store = bench.faulty(Op::Write, block, Mischief::Error(Fault::Full));
        let copy = bench.upload(&*store, "a").await;
        let error = bench.dump(&raw, vec![copy], 1).await.unwrap_err();
        assert_eq!((error.code(), error.is_permanent()), ("store_full", false));
        assert!(bench.is_clean(), "failing at block {block} left a temporary file");
    }
}

#[tokio::test]
async fn losing_a_copy_fails_the_dump_only_if_it_was_required() {
    let bench = Bench::new().await;
    let raw = noise(8 * MIB);
    let store = bench.faulty(Op::Write, 3, Mischief::Error(Fault::Unreachable));
    let copies = vec![bench.upload(&*store, "bad").await, bench.upload(&*bench.disk, "good").await];
    let dumped = bench.dump(&raw, copies, 1).await.unwrap();
    let [(_, Err(lost)), (_, Ok(_))] = &dumped.copies[..] else { panic!("{:?}", dumped.copies) };
    assert_eq!(lost.code(), "store_unreachable");
    drop(dumped);
    let store = bench.faulty(Op::Write, 3, Mischief::Error(Fault::Unreachable));
    let copies = vec![bench.upload(&*store, "bad").await, bench.upload(&*bench.disk, "other").await];
    let error = bench.dump(&raw, copies, 2).await.unwrap_err();
    assert!(matches!(error, StreamError::Copies { required: 2, good: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn output_that_is_no_dump_is_refused() {
    let bench = Bench::new().await;
    for raw in [&b""[..], b"PG", b"pg_dump: error"] {
        let copy = bench.upload(&*bench.disk, "a").await;
        let plan = DumpPlan { expect_magic: Some(b"PGDMP"), ..DumpPlan::default() };
        let error = dump(raw, vec![copy], plan, Arc::default(), &bench.cancel).await.unwrap_err();
        assert_eq!(error.code(), "empty_or_bad_format");
        assert!(bench.is_clean());
    }
}

#[tokio::test]
async fn memory_stays_at_its_bound_and_the_stages_account_for_their_time() {
    let bench = Bench::new().await;
    let source = tokio::io::AsyncReadExt::take(tokio::io::repeat(7), 200 * MIB as u64);
    let copy = bench.upload(&*bench.disk, "big").await;
    let progress = Arc::new(Progress::default());
    let dumped = dump(source, vec![copy], DumpPlan::default(), Arc::clone(&progress), &bench.cancel).await.unwrap();
    assert_eq!((dumped.raw_bytes, progress.raw_bytes()), (200 * MIB as u64, 200 * MIB as u64));
    assert!(dumped.peak_blocks <= DEFAULT_BLOCKS, "{} blocks", dumped.peak_blocks);
    let took = u64::try_from(progress.started().elapsed().as_millis()).unwrap();
    for stage in &dumped.stages {
        assert!(stage.busy_ms + stage.wait_ms <= took + 5, "{stage:?} in {took} ms");
    }
    assert!(dumped.stages.iter().any(|stage| stage.name == dumped.bottleneck));
}

#[tokio::test]
async fn cancelling_ends_a_dump_that_stands_still_and_leaves_nothing() {
    let bench = Bench::new().await;
    let (mut child, source) = tokio::io::duplex(64);
    let copy = bench.upload(&*bench.disk, "a").await;
    let progress = Arc::new(Progress::default());
    let running = dump(source, vec![copy], DumpPlan::default(), Arc::clone(&progress), &bench.cancel);
    let cancelling = async {
        tokio::io::AsyncWriteExt::write_all(&mut child, b"some").await.unwrap();
        while progress.raw_bytes() < 4 {
            tokio::task::yield_now().await;
        }
        bench.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(running, cancelling);
    assert_eq!(ended.unwrap_err().code(), "cancelled");
    assert!(bench.is_clean());
}

#[tokio::test]
async fn cancelling_ends_a_restore_whose_tool_does_not_read() {
    let bench = Bench::new().await;
    let expected = bench.save(&noise(30 * MIB), "a").await;
    let stored = bench.disk.read(&StoreKey::parse("a").unwrap(), &bench.cancel).await.unwrap();
    let (sink, _never_read) = tokio::io::duplex(64);
    let progress = Arc::new(Progress::default());
    let running = restore(stored, &expected, None, sink, Arc::clone(&progress), &bench.cancel);
    let cancelling = async {
        while progress.raw_bytes() < 64 {
            tokio::task::yield_now().await;
        }
        bench.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(running, cancelling);
    assert_eq!(ended.unwrap_err().code(), "cancelled");
    assert_eq!(progress.raw_bytes(), 64);
}

#[tokio::test]
async fn the_inventory_sees_every_block_in_order() {
    let bench = Bench::new().await;
    let raw = text(3 * MIB + 5);
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let tap: Tap = Box::new(move |block: &Bytes| kept.lock().unwrap().extend_from_slice(block));
    let copy = bench.upload(&*bench.disk, "a").await;
    let plan = DumpPlan { tap: Some(tap), ..DumpPlan::default() };
    dump(&raw[..], vec![copy], plan, Arc::default(), &bench.cancel).await.unwrap();
    assert!(*seen.lock().unwrap() == raw);
}

#[tokio::test]
async fn cancelling_after_the_source_ended_never_passes_for_a_whole_dump() {
    let bench = Bench::new().await;
    let store = Arc::new(Faulty::new(Arc::clone(&bench.disk), vec![(Op::Write, 1, Mischief::Hang)]));
    let copy = bench.upload(&*store, "a").await;
    let raw = text(1000);
    let running = bench.dump(&raw, vec![copy], 1);
    let cancelling = async {
        while store.calls(Op::Write) == 0 {
            tokio::task::yield_now().await;
        }
        bench.cancel.cancel();
    };
    let (ended, ()) = tokio::join!(running, cancelling);
    assert_eq!(ended.unwrap_err().code(), "cancelled");
    assert!(bench.is_clean());
}
