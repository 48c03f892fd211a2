//! Copies to an engine, and the proof that a copy is what was saved.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use shared::name::StoreKey;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::hash::{RawHash, StoredHash};
use super::progress::{Watch, bottleneck};
use super::{Blake3, BlockPool, DEFAULT_BLOCKS, HAND_OVER, Progress, Sha256, StageTime, StreamError, join};
use crate::store::{ByteStream, Store, Stored};

/// What the record says of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub stored_bytes: u64,
    pub sha256: Sha256,
    pub raw_bytes: u64,
    pub blake3: Blake3,
}

/// What was sent to a store, as the stream counted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredBytes {
    pub bytes: u64,
    pub blake3: Blake3,
}

/// A restore or verify in which everything matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub raw_bytes: u64,
    pub stored_bytes: u64,
    pub stages: Vec<StageTime>,
    /// The busiest stage.
    pub bottleneck: String,
}

/// Reads an object, checks it and writes its raw bytes to `sink`.
///
/// The last block is held back until both lengths and both digests have matched; only then is it written and the sink
/// shut down. On any error the sink is dropped with at least the last byte missing, so that a tool which commits at the
/// end of its input has nothing to commit (`pg_restore --single-transaction` rolls back). This does **not** protect a
/// restore that does not read to the end (`pg_restore -t`): run [`verify`] first.
pub async fn restore(
    stored: ByteStream,
    expected: Expected,
    mut sink: impl AsyncWrite + Unpin + Send,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Restored, StreamError> {
    let (to_sha, from_store) = mpsc::channel(1);
    let (to_unzstd, from_sha) = mpsc::channel(1);
    let (to_hash, from_unzstd) = mpsc::channel(HAND_OVER);
    let (to_sink, mut from_hash) = mpsc::channel(HAND_OVER);
    let pool = BlockPool::new(DEFAULT_BLOCKS / 2);
    let summing = spawn_blocking(move || sum(from_store, &to_unzstd, expected.stored_bytes));
    let expanding = spawn_blocking(move || expand(from_sha, &to_hash, pool));
    let hashing = spawn_blocking(move || hash(from_unzstd, &to_sink, expected.raw_bytes));

    let fetching = fetch(stored, to_sha, Arc::clone(&progress));
    let writing = async {
        let mut watch = Watch::start("sink");
        let mut held: Option<Bytes> = None;
        while let Some(block) = from_hash.recv().await {
            watch.was_waiting();
            if let Some(block) = held.replace(block) {
                write(&mut sink, &block, &progress).await?;
                watch.was_busy();
            }
        }
        watch.was_waiting();
        Ok::<_, StreamError>((held, watch))
    };
    let both = async {
        // Not `try_join`: when a stage finds damage it closes its channels, both ends stop, and the stage says why.
        // A sink that fails must stop the fetching, though.
        tokio::pin!(fetching, writing);
        tokio::select! {
            fetched = &mut fetching => (Some(fetched), writing.await),
            written = &mut writing => match written {
                Err(error) => (None, Err(error)),
                Ok(held) => (Some(fetching.await), Ok(held)),
            },
        }
    };
    let (fetched, written) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(StreamError::Cancelled),
        both = both => both,
    };
    let (held, mut watch) = written?;
    // The receivers' ends are closed by now, so the threads end.
    drop(from_hash);
    let store_time = fetched.ok_or(StreamError::StageDied { stage: "store" })??;
    let summed = join("sha256", summing).await?;
    let expanded = join("unzstd", expanding).await?;
    let hashed = join("blake3", hashing).await?;
    let (stored, sha_time) = summed?;
    differ("stored length", expected.stored_bytes, stored.bytes)?;
    differ("SHA-256 of the stored bytes", expected.sha256, stored.digest())?;
    let unzstd_time = expanded?;
    let (raw, hash_time) = hashed?;
    differ("raw length", expected.raw_bytes, raw.bytes)?;
    differ("BLAKE3 of the raw bytes", expected.blake3, raw.digest())?;

    let finish = async {
        if let Some(block) = held {
            write(&mut sink, &block, &progress).await?;
        }
        sink.shutdown().await.map_err(|source| StreamError::Sink { raw_bytes: progress.raw_bytes(), source })
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(StreamError::Cancelled),
        done = finish => done?,
    }
    watch.was_busy();
    let stages = vec![store_time, sha_time, unzstd_time, hash_time, watch.time()];
    let bottleneck = bottleneck(&stages);
    Ok(Restored { raw_bytes: expected.raw_bytes, stored_bytes: expected.stored_bytes, stages, bottleneck })
}

/// Reads and checks everything a restore would, and writes nothing.
pub async fn verify(
    stored: ByteStream,
    expected: Expected,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Restored, StreamError> {
    restore(stored, expected, tokio::io::sink(), progress, cancel).await
}

/// Checks what a store holds right after its commit, without decompressing it: by what the store has itself read again
/// while it was written, else by reading it now.
pub async fn read_back(
    store: &dyn Store,
    key: &StoreKey,
    committed: Stored,
    expected: StoredBytes,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<(), StreamError> {
    let agree = |bytes, found| {
        differ("stored length", expected.bytes, bytes)?;
        differ("BLAKE3 of the stored bytes", expected.blake3, found)
    };
    if let Some(found) = committed.read_back {
        return agree(committed.bytes, Blake3(found.into()));
    }
    let work = async {
        let mut stored = store.read(key, cancel).await.map_err(StreamError::Store)?;
        let (to_hash, mut from_store) = mpsc::channel::<Bytes>(1);
        let hashing = spawn_blocking(move || {
            let mut hash = RawHash::default();
            while let Some(block) = from_store.blocking_recv() {
                hash.update(&block);
            }
            hash
        });
        let mut bytes = 0;
        while let Some(block) = stored.next().await {
            let block = block.map_err(StreamError::Store)?;
            bytes += block.len() as u64;
            progress.stored(block.len());
            // More than was written need not be read to its end.
            if bytes > expected.bytes || to_hash.send(block).await.is_err() {
                break;
            }
        }
        drop(to_hash);
        agree(bytes, join("read-back", hashing).await?.digest())
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(StreamError::Cancelled),
        done = work => done,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "lengths and digests are copied, and calls read better so")]
fn differ<T: PartialEq + ToString>(what: &'static str, expected: T, found: T) -> Result<(), StreamError> {
    if expected == found {
        return Ok(());
    }
    Err(StreamError::Corrupt { what, expected: expected.to_string(), found: found.to_string() })
}

async fn fetch(
    mut stored: ByteStream,
    to_sha: Sender<Bytes>,
    progress: Arc<Progress>,
) -> Result<StageTime, StreamError> {
    let mut watch = Watch::start("store");
    while let Some(block) = stored.next().await {
        let block = block.map_err(StreamError::Store)?;
        watch.was_busy();
        progress.stored(block.len());
        if to_sha.send(block).await.is_err() {
            break;
        }
        watch.was_waiting();
    }
    watch.was_busy();
    Ok(watch.time())
}

async fn write(sink: &mut (impl AsyncWrite + Unpin), block: &Bytes, progress: &Progress) -> Result<(), StreamError> {
    let mut rest: &[u8] = block;
    while !rest.is_empty() {
        let written = match sink.write(rest).await {
            Ok(0) => Err(std::io::ErrorKind::WriteZero.into()),
            other => other,
        };
        let n = written.map_err(|source| StreamError::Sink { raw_bytes: progress.raw_bytes(), source })?;
        progress.raw(n);
        rest = rest.get(n..).unwrap_or_default();
    }
    Ok(())
}

/// Goes on to the end even when nobody takes the output: a wrong digest names the damage better than what it does to
/// the decoder.
fn sum(
    mut input: Receiver<Bytes>,
    output: &Sender<Bytes>,
    expected: u64,
) -> Result<(StoredHash, StageTime), StreamError> {
    let mut watch = Watch::of_thread("sha256");
    let mut hash = StoredHash::new();
    while let Some(block) = input.blocking_recv() {
        watch.was_waiting();
        hash.update(&block);
        watch.was_busy();
        if hash.bytes > expected {
            let found = format!("at least {}", hash.bytes);
            return Err(StreamError::Corrupt { what: "stored length", expected: expected.to_string(), found });
        }
        output.blocking_send(block).ok();
    }
    watch.was_waiting();
    Ok((hash, watch.time()))
}

fn expand(mut input: Receiver<Bytes>, output: &Sender<Bytes>, mut pool: BlockPool) -> Result<StageTime, StreamError> {
    let damaged =
        |found: String| StreamError::Corrupt { what: "zstd frame", expected: "a whole one".to_owned(), found };
    let mut watch = Watch::of_thread("unzstd");
    let mut decoder = Decoder::new().map_err(StreamError::Compress)?;
    let mut current = pool.blocking_take();
    // What the decoder still wants: nothing at the end of a frame.
    let mut wanted = 1;
    while let Some(stored) = input.blocking_recv() {
        watch.was_waiting();
        let mut source = InBuffer::around(&stored[..]);
        loop {
            let mut target = OutBuffer::around(current.spare());
            let ran = decoder.run(&mut source, &mut target);
            let written = target.pos();
            wanted = ran.map_err(|error| damaged(error.to_string()))?;
            current.advance(written);
            watch.was_busy();
            let full = current.is_full();
            if full {
                let block = std::mem::replace(&mut current, pool.blocking_take());
                if output.blocking_send(block.freeze()).is_err() {
                    return Ok(watch.time());
                }
                watch.was_waiting();
            }
            // A full block may hide output that the decoder still holds.
            if source.pos() == stored.len() && (!full || wanted == 0) {
                break;
            }
        }
    }
    watch.was_waiting();
    if wanted != 0 {
        return Err(damaged("cut off".to_owned()));
    }
    if !current.is_empty() {
        // Closed means that the sink failed or the digest stage found damage; either says so.
        output.blocking_send(current.freeze()).ok();
    }
    watch.was_waiting();
    Ok(watch.time())
}

fn hash(
    mut input: Receiver<Bytes>,
    output: &Sender<Bytes>,
    expected: u64,
) -> Result<(RawHash, StageTime), StreamError> {
    let mut watch = Watch::of_thread("blake3");
    let mut hash = RawHash::default();
    while let Some(block) = input.blocking_recv() {
        watch.was_waiting();
        hash.update(&block);
        watch.was_busy();
        if hash.bytes > expected {
            let found = format!("at least {}", hash.bytes);
            return Err(StreamError::Corrupt { what: "raw length", expected: expected.to_string(), found });
        }
        if output.blocking_send(block).is_err() {
            break;
        }
    }
    watch.was_waiting();
    Ok((hash, watch.time()))
}
