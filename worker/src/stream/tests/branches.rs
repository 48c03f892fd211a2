//! Encrypted copies, dumps of several objects, and copies that lag.

use std::time::Duration;

use age::x25519::Identity;
use async_trait::async_trait;

use super::*;
use crate::store::{StoreError, Upload};
use crate::stream::encrypt::tests::to;

/// Opens `NAME.2`, `NAME.3`, …
#[derive(Debug)]
struct Next {
    store: Arc<dyn Store>,
    name: String,
}

#[async_trait]
impl NextObject for Next {
    async fn open(&mut self, number: u32) -> Result<Box<dyn Upload>, StoreError> {
        let key = StoreKey::parse(format!("{}.{number}", self.name)).unwrap();
        let at = self.store.prepare(&key).await?;
        self.store.upload(&key, &at, &CancellationToken::new()).await
    }
}

impl Bench {
    async fn cut(&self, store: &Arc<dyn Store>, key: &str, most: u64) -> Destination {
        let first = self.upload(&**store, &format!("{key}.1")).await;
        let more = Next { store: Arc::clone(store), name: key.to_owned() };
        Destination { more: Some(Box::new(more)), max_object_bytes: Some(most), ..first }
    }

    async fn objects(&self, key: &str, count: usize) -> Objects {
        let keys: Vec<_> = (1..=count).map(|n| StoreKey::parse(format!("{key}.{n}")).unwrap()).collect();
        Objects::open(&self.disk, keys, &self.cancel).await.unwrap()
    }

    async fn read(
        &self,
        objects: Objects,
        expected: &Expected,
        with: Option<&Encryption>,
    ) -> Result<Vec<u8>, StreamError> {
        let mut sink = Vec::new();
        restore(objects, expected, with, &mut sink, Arc::default(), &self.cancel).await.map(|_| sink)
    }

    fn stored(&self, key: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(key)).unwrap()
    }
}

const BOTH: [Encoding; 2] = [Encoding::Zstd, Encoding::Age];

#[tokio::test]
async fn plain_and_encrypted_copies_of_one_dump_restore_to_the_same() {
    let bench = Bench::new().await;
    let (one, two) = (Identity::generate(), Identity::generate());
    let raw = noise(9 * MIB + 7);
    let mut copies = Vec::new();
    for (key, encryption) in [
        ("plain", None),
        ("one", Some(to(&[&one], &[]))),
        ("both", Some(to(&[&one, &two], &[]))),
        ("one-again", Some(to(&[&one], &[]))),
    ] {
        copies.push(Destination { encryption: encryption.map(Arc::new), ..bench.upload(&*bench.disk, key).await });
    }
    let dumped = bench.dump(&raw, copies, 4).await.unwrap();
    let ages = dumped.stages.iter().filter(|stage| stage.name.starts_with("age")).count();
    assert_eq!(ages, 2, "equal recipients share one stage: {:?}", dumped.stages);
    let facts = (dumped.raw_bytes, dumped.blake3);
    let mut expected = Vec::new();
    for (n, (_, written)) in dumped.copies.into_iter().enumerate() {
        let encodings = if n == 0 { vec![Encoding::Zstd] } else { BOTH.to_vec() };
        expected.push(commit(written.unwrap(), facts, encodings).await);
    }
    assert_eq!(expected[1], expected[3]);
    assert_eq!(bench.stored("one"), bench.stored("one-again"));
    for (at, key, with) in [
        (0, "plain", None),
        (1, "one", Some(to(&[&one], &[&one]))),
        (2, "both", Some(to(&[&one, &two], &[&two]))),
        (2, "both", Some(to(&[&one, &two], &[&one]))),
    ] {
        let stored = bench.disk.read(&StoreKey::parse(key).unwrap(), &bench.cancel).await.unwrap();
        assert!(bench.read(stored.into(), &expected[at], with.as_ref()).await.unwrap() == raw, "{key}");
    }
    let wrong = to(&[&one], &[&two]);
    let stored = bench.disk.read(&StoreKey::parse("one").unwrap(), &bench.cancel).await.unwrap();
    let error = bench.read(stored.into(), &expected[1], Some(&wrong)).await.unwrap_err();
    assert_eq!((error.code(), error.is_permanent()), ("identity_wrong", true));
    // Whoever cannot read can still tell that the stored bytes are those that were stored.
    let stored = bench.disk.read(&StoreKey::parse("one").unwrap(), &bench.cancel).await.unwrap();
    verify_stored(stored, &expected[1], Arc::default(), &bench.cancel).await.unwrap();
}

#[tokio::test]
async fn damage_in_an_encrypted_copy_is_found_before_the_last_block_is_written() {
    let bench = Bench::new().await;
    let one = Identity::generate();
    let both = to(&[&one], &[&one]);
    let raw = noise(5 * MIB);
    let copy = Destination { encryption: Some(Arc::new(both.clone())), ..bench.upload(&*bench.disk, "a").await };
    let dumped = bench.dump(&raw, vec![copy], 1).await.unwrap();
    let facts = (dumped.raw_bytes, dumped.blake3);
    let (_, written) = dumped.copies.into_iter().next().unwrap();
    let expected = commit(written.unwrap(), facts, BOTH.to_vec()).await;
    // Damage that the digests know, and damage that came with digests of its own.
    let whole = bench.stored("a");
    for (at, rewritten) in
        [(0, false), (100, false), (3_000_000, false), (whole.len() - 1, false), (3_000_000, true), (100, true)]
    {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(bench.dir.path().join("a"), &bytes).unwrap();
        let mut expected = expected.clone();
        if rewritten {
            expected.objects[0].sha256 = sha256(&bytes);
        }
        let mut sink = Vec::new();
        let stored = bench.disk.read(&StoreKey::parse("a").unwrap(), &bench.cancel).await.unwrap();
        let done = restore(stored, &expected, Some(&both), &mut sink, Arc::default(), &bench.cancel).await;
        let code = done.unwrap_err().code();
        assert!(code == "object_corrupt" || rewritten && code == "identity_wrong", "{at} {rewritten}: {code}");
        assert!(sink.len() < raw.len());
    }
}

#[tokio::test]
async fn a_long_dump_is_cut_exactly_and_reads_as_one() {
    let bench = Bench::new().await;
    let raw = noise(5 * MIB + 123);
    let most = MIB as u64;
    let copies = vec![bench.cut(&bench.disk, "a", most).await, bench.cut(&bench.disk, "b", 3 * most).await];
    let dumped = bench.dump(&raw, copies, 2).await.unwrap();
    let facts = (dumped.raw_bytes, dumped.blake3);
    let mut expected = Vec::new();
    for (_, written) in dumped.copies {
        expected.push(commit(written.unwrap(), facts, vec![Encoding::Zstd]).await);
    }
    assert_eq!(expected[0], expected[1], "copies of one branch are cut by the smallest limit");
    let expected = &expected[0];
    let count = expected.objects.len();
    assert_eq!(count, 6);
    assert!(expected.objects[..count - 1].iter().all(|object| object.stored_bytes == most));
    let read = bench.read(bench.objects("a", count).await, expected, None).await.unwrap();
    assert!(read == raw);
    let joined: Vec<u8> = (1..=count).flat_map(|n| bench.stored(&format!("a.{n}"))).collect();
    assert!(zstd::decode_all(&joined[..]).unwrap() == raw);
    // Of the wrong objects, or too few, nothing whole comes.
    for (what, keys) in [("swapped", vec![1, 3, 2, 4, 5, 6]), ("missing", vec![1, 2, 3, 4, 5])] {
        let keys: Vec<_> = keys.into_iter().map(|n| StoreKey::parse(format!("a.{n}")).unwrap()).collect();
        let objects = Objects::open(&bench.disk, keys, &bench.cancel).await.unwrap();
        assert_eq!(bench.read(objects, expected, None).await.unwrap_err().code(), "object_corrupt", "{what}");
    }
    bench.disk.delete(&StoreKey::parse("a.2").unwrap()).await.unwrap();
    let error = bench.read(bench.objects("a", count).await, expected, None).await.unwrap_err();
    assert_eq!(error.code(), "object_missing");
}

#[tokio::test]
async fn a_dump_that_fills_its_object_to_the_byte_is_not_cut() {
    let bench = Bench::new().await;
    let raw = noise(MIB);
    let whole = bench.save(&raw, "whole").await.stored_bytes();
    for (most, count) in [(whole, 1), (whole - 1, 2)] {
        let copy = bench.cut(&bench.disk, &format!("n{most}"), most).await;
        let dumped = bench.dump(&raw, vec![copy], 1).await.unwrap();
        let (_, written) = dumped.copies.into_iter().next().unwrap();
        assert_eq!(written.unwrap().len(), count);
    }
}

async fn stalled(bench: &Bench, raw: &[u8], at: u64, required: usize) -> Result<Dumped, StreamError> {
    let store = bench.faulty(Op::Write, at, Mischief::Hang);
    let copies = vec![bench.upload(&*store, "hangs").await, bench.upload(&*bench.disk, "goes-on").await];
    let plan = DumpPlan { required, laggard: Duration::from_secs(2), ..DumpPlan::default() };
    dump(raw, copies, plan, Arc::default(), &bench.cancel).await
}

#[tokio::test]
async fn a_copy_that_lags_is_given_up_where_it_is_not_needed() {
    // In the middle of a long dump, and at the end of one that fits into the buffers.
    for (len, at) in [(40 * MIB, 3), (MIB / 2, 1)] {
        let bench = Bench::new().await;
        let dumped = stalled(&bench, &noise(len), at, 1).await.unwrap();
        let [(_, Err(lost)), (_, Ok(good))] = &dumped.copies[..] else { panic!("{:?}", dumped.copies) };
        assert_eq!((lost.code(), lost.is_permanent()), ("store_lagging", false));
        assert_eq!(good.len(), 1);
    }
}

#[tokio::test]
async fn a_copy_that_lags_holds_up_the_others_where_it_is_needed() {
    let bench = Bench::new().await;
    let raw = noise(40 * MIB);
    let store = Arc::new(Faulty::new(
        Arc::clone(&bench.disk),
        vec![(Op::Write, 3, Mischief::Slow(Duration::from_millis(900)))],
    ));
    let copies = vec![bench.upload(&*store, "slow").await, bench.upload(&*bench.disk, "goes-on").await];
    let plan = DumpPlan { required: 2, laggard: Duration::from_millis(100), ..DumpPlan::default() };
    let dumped = dump(&raw[..], copies, plan, Arc::default(), &bench.cancel).await.unwrap();
    assert!(dumped.copies.iter().all(|(_, copy)| copy.is_ok()), "{:?}", dumped.copies);
    let slow = dumped.stages.iter().find(|stage| stage.name.starts_with("copy")).unwrap();
    assert!(slow.busy_ms >= 800, "{slow:?}");
}
