//! Copies to an engine, and the proof that a copy is what was saved.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use shared::manifest::Encoding;
use shared::name::StoreKey;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::encrypt::{Encryption, decrypt};
use super::hash::{RawHash, StoredHash};
use super::progress::{Watch, bottleneck};
use super::{Blake3, BlockPool, DEFAULT_BLOCKS, HAND_OVER, Progress, Sha256, StageTime, StreamError, join};
use crate::store::{ByteStream, Store, StoreError, Stored};

/// What the record says of a stream in one copy: its objects in order, how it is encoded there, and what comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub objects: Vec<ExpectedObject>,
    /// As they were applied: undone from the last to the first.
    pub encodings: Vec<Encoding>,
    pub raw_bytes: u64,
    pub blake3: Blake3,
}

/// What the record says of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedObject {
    pub stored_bytes: u64,
    pub sha256: Sha256,
}

impl Expected {
    /// Stored bytes of all its objects.
    pub fn stored_bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.stored_bytes).sum()
    }
}

/// What was sent to a store as one object, as the stream counted it.
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

/// The objects of a stream as they are read from a store, one after another.
pub struct Objects {
    current: Option<ByteStream>,
    rest: VecDeque<StoreKey>,
    store: Option<(Arc<dyn Store>, CancellationToken)>,
}

impl Objects {
    /// Opens the first of these objects; the others are opened when it is their turn.
    pub async fn open(
        store: &Arc<dyn Store>,
        keys: impl IntoIterator<Item = StoreKey> + Send,
        cancel: &CancellationToken,
    ) -> Result<Self, StoreError> {
        let mut rest: VecDeque<StoreKey> = keys.into_iter().collect();
        let current = match rest.pop_front() {
            Some(key) => Some(store.read(&key, cancel).await?),
            None => None,
        };
        Ok(Self { current, rest, store: Some((Arc::clone(store), cancel.clone())) })
    }

    async fn next(&mut self) -> Result<Option<Piece>, StoreError> {
        loop {
            if let Some(object) = &mut self.current {
                if let Some(block) = object.next().await.transpose()? {
                    return Ok(Some(Piece::Bytes(block)));
                }
                self.current = None;
                return Ok(Some(Piece::End));
            }
            let (Some(key), Some((store, cancel))) = (self.rest.pop_front(), &self.store) else { return Ok(None) };
            self.current = Some(store.read(&key, cancel).await?);
        }
    }
}

impl From<ByteStream> for Objects {
    /// A stream of one object.
    fn from(object: ByteStream) -> Self {
        Self { current: Some(object), rest: VecDeque::new(), store: None }
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Objects").field("rest", &self.rest).finish_non_exhaustive()
    }
}

/// What comes from the store.
enum Piece {
    Bytes(Bytes),
    /// An object ends here.
    End,
}

/// Reads a stream's objects, checks them and writes the raw bytes to `sink`. `encryption` is that of the copy's store, needed
/// where the copy is encrypted.
///
/// The last block is held back until all lengths and digests have matched; only then is it written and the sink
/// shut down. On any error the sink is dropped with at least the last byte missing, so that a tool which commits at the
/// end of its input has nothing to commit (`pg_restore --single-transaction` rolls back). This does **not** protect a
/// restore that does not read to the end (`pg_restore -t`): run [`verify`] first.
pub async fn restore(
    stored: impl Into<Objects>,
    expected: &Expected,
    encryption: Option<&Encryption>,
    mut sink: impl AsyncWrite + Unpin + Send,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Restored, StreamError> {
    let (to_sha, from_store) = mpsc::channel(1);
    let (to_decode, from_sha) = mpsc::channel(1);
    let (to_hash, from_decode) = mpsc::channel(HAND_OVER);
    let (to_sink, mut from_hash) = mpsc::channel(HAND_OVER);
    let objects = expected.objects.clone();
    let summing = spawn_blocking(move || sum(from_store, &to_decode, &objects));
    let decoding = decode(&expected.encodings, encryption, from_sha, to_hash)?;
    let raw_bytes = expected.raw_bytes;
    let hashing = spawn_blocking(move || hash(from_decode, &to_sink, raw_bytes));

    let fetching = fetch(stored.into(), to_sha, Arc::clone(&progress));
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
    let mut decoded = Vec::new();
    for (stage, handle) in decoding {
        decoded.push(join(stage, handle).await?);
    }
    let hashed = join("blake3", hashing).await?;
    // The earliest stage that failed knows best: what is wrong with the bytes is wrong for all that come after.
    let mut stages = vec![store_time, summed?];
    for stage in decoded {
        stages.push(stage?);
    }
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
    stages.extend([hash_time, watch.time()]);
    let bottleneck = bottleneck(&stages);
    Ok(Restored { raw_bytes: expected.raw_bytes, stored_bytes: expected.stored_bytes(), stages, bottleneck })
}

type Stages = Vec<(&'static str, tokio::task::JoinHandle<Result<StageTime, StreamError>>)>;

/// Starts the stages that undo the encodings, from the last to the first.
fn decode(
    encodings: &[Encoding],
    encryption: Option<&Encryption>,
    mut input: Receiver<Bytes>,
    output: Sender<Bytes>,
) -> Result<Stages, StreamError> {
    let mut stages: Stages = Vec::new();
    for (left, encoding) in encodings.iter().enumerate().rev() {
        let (to_next, from_this) = if left == 0 {
            (output.clone(), None)
        } else {
            let (to, from) = mpsc::channel(1);
            (to, Some(from))
        };
        let pool = BlockPool::new(if left == 0 { DEFAULT_BLOCKS / 2 } else { 3 });
        let this = match from_this {
            Some(from_this) => std::mem::replace(&mut input, from_this),
            // The last one: what is put in its place is never read.
            None => std::mem::replace(&mut input, mpsc::channel(1).1),
        };
        match encoding {
            Encoding::Zstd => stages.push(("unzstd", spawn_blocking(move || expand(this, &to_next, pool)))),
            Encoding::Age => {
                let encryption = encryption.ok_or(StreamError::NoIdentity)?.clone();
                stages.push(("age", spawn_blocking(move || decrypt(&encryption, this, &to_next, pool))));
            }
        }
    }
    if encodings.is_empty() {
        stages.push(("copy", spawn_blocking(move || Ok(pass(input, &output)))));
    }
    Ok(stages)
}

/// Reads and checks everything a restore would, and writes nothing.
pub async fn verify(
    stored: impl Into<Objects>,
    expected: &Expected,
    encryption: Option<&Encryption>,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Restored, StreamError> {
    restore(stored, expected, encryption, tokio::io::sink(), progress, cancel).await
}

/// Reads and checks stored bytes against their lengths and digests, decoding nothing: no identity is needed.
pub async fn verify_stored(
    stored: impl Into<Objects>,
    expected: &Expected,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<(), StreamError> {
    let (to_sha, from_store) = mpsc::channel(1);
    // Nobody takes what was summed: the stage goes on all the same.
    let (to_nobody, _) = mpsc::channel(1);
    let objects = expected.objects.clone();
    let summing = spawn_blocking(move || sum(from_store, &to_nobody, &objects));
    let fetched = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(StreamError::Cancelled),
        fetched = fetch(stored.into(), to_sha, progress) => fetched,
    };
    let summed = join("sha256", summing).await?;
    fetched?;
    summed.map(drop)
}

/// Shows the stored bytes of a copy to `look` until it has seen enough, decrypted where the copy is encrypted. Nothing is
/// checked but what age checks: for a glance at the head of a dump. `false`: the end came first.
pub async fn glance(
    mut stored: Objects,
    encryption: Option<&Encryption>,
    mut look: impl FnMut(&[u8]) -> std::io::Result<bool>,
) -> Result<bool, StreamError> {
    let failed = |source| StreamError::Sink { raw_bytes: 0, source };
    let Some(encryption) = encryption.cloned() else {
        while let Some(piece) = stored.next().await.map_err(StreamError::Store)? {
            if let Piece::Bytes(block) = piece
                && look(&block).map_err(failed)?
            {
                return Ok(true);
            }
        }
        return Ok(false);
    };
    let (to_age, from_store) = mpsc::channel(1);
    let (to_look, mut from_age) = mpsc::channel(1);
    let decrypting = spawn_blocking(move || decrypt(&encryption, from_store, &to_look, BlockPool::new(3)));
    let feeding = async move {
        while let Some(piece) = stored.next().await.map_err(StreamError::Store)? {
            if let Piece::Bytes(block) = piece
                && to_age.send(block).await.is_err()
            {
                break;
            }
        }
        Ok::<_, StreamError>(())
    };
    let looking = async {
        while let Some(block) = from_age.recv().await {
            if look(&block).map_err(failed)? {
                return Ok(true);
            }
        }
        Ok::<_, StreamError>(false)
    };
    tokio::pin!(feeding, looking);
    let (fed, seen) = tokio::select! {
        fed = &mut feeding => (fed, looking.await),
        seen = &mut looking => (Ok(()), seen),
    };
    if seen? {
        return Ok(true);
    }
    fed?;
    join("age", decrypting).await?.map(|_| false)
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

async fn fetch(mut stored: Objects, to_sha: Sender<Piece>, progress: Arc<Progress>) -> Result<StageTime, StreamError> {
    let mut watch = Watch::start("store");
    while let Some(piece) = stored.next().await.map_err(StreamError::Store)? {
        watch.was_busy();
        if let Piece::Bytes(block) = &piece {
            progress.stored(block.len());
        }
        if to_sha.send(piece).await.is_err() {
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
    mut input: Receiver<Piece>,
    output: &Sender<Bytes>,
    objects: &[ExpectedObject],
) -> Result<StageTime, StreamError> {
    let mut watch = Watch::of_thread("sha256");
    let mut hash = StoredHash::new();
    let mut left = objects.iter();
    let mut current = left.next();
    while let Some(piece) = input.blocking_recv() {
        watch.was_waiting();
        let Some(expected) = current else { break };
        match piece {
            Piece::Bytes(block) => {
                hash.update(&block);
                watch.was_busy();
                if hash.bytes > expected.stored_bytes {
                    let found = format!("at least {}", hash.bytes);
                    let expected = expected.stored_bytes.to_string();
                    return Err(StreamError::Corrupt { what: "stored length", expected, found });
                }
                output.blocking_send(block).ok();
            }
            Piece::End => {
                let ended = std::mem::replace(&mut hash, StoredHash::new());
                differ("stored length", expected.stored_bytes, ended.bytes)?;
                differ("SHA-256 of the stored bytes", expected.sha256, ended.digest())?;
                current = left.next();
            }
        }
    }
    watch.was_waiting();
    let missing = left.count() + usize::from(current.is_some());
    differ("number of objects", objects.len(), objects.len() - missing)?;
    Ok(watch.time())
}

/// For what was stored as it came.
fn pass(mut input: Receiver<Bytes>, output: &Sender<Bytes>) -> StageTime {
    let mut watch = Watch::of_thread("copy");
    while let Some(block) = input.blocking_recv() {
        watch.was_waiting();
        if output.blocking_send(block).is_err() {
            break;
        }
    }
    watch.was_waiting();
    watch.time()
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
