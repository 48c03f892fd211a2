//! Engine output to copies.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use shared::name::Slug;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::hash::{RawHash, StoredHash};
use super::progress::{Watch, bottleneck};
use super::{
    Blake3, Block, BlockPool, DEFAULT_BLOCKS, DEFAULT_LEVEL, Gauge, HAND_OVER, Progress, Sha256, StageTime,
    StreamError, join,
};
use crate::store::{StoreError, Upload};

mod compress;
mod fan;

use compress::compress;
use fan::{Fan, abort_all};

/// Sees every raw block in order, on a thread of its own (the inventory). It keeps its result where the caller finds it;
/// after the stream it has been dropped.
pub type Tap = Box<dyn FnMut(&Bytes) + Send>;

/// How one copy ended: an upload that awaits its commit, or why it was lost.
pub type CopyResult = Result<Box<dyn Upload>, StoreError>;

/// What a dump stream is asked to do.
pub struct DumpPlan {
    /// zstd level, 1–19.
    pub level: i32,
    /// What the output must begin with, else `empty_or_bad_format`. Without it anything is taken, also nothing.
    pub expect_magic: Option<&'static [u8]>,
    /// 1 MiB blocks this stream may hold.
    pub blocks: usize,
    /// Copies without which the stream fails. More may be written; losing those is reported only.
    pub required: usize,
    pub tap: Option<Tap>,
}

impl Default for DumpPlan {
    fn default() -> Self {
        Self { level: DEFAULT_LEVEL, expect_magic: None, blocks: DEFAULT_BLOCKS, required: 1, tap: None }
    }
}

impl fmt::Debug for DumpPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DumpPlan").field("level", &self.level).field("required", &self.required).finish_non_exhaustive()
    }
}

/// A source that was read to its end. Nothing is committed: whether the bytes are a dump, the child's exit status says.
#[derive(Debug)]
pub struct Dumped {
    pub raw_bytes: u64,
    pub blake3: Blake3,
    pub stored_bytes: u64,
    pub sha256: Sha256,
    /// For the read-back: the same bytes as `sha256`, and a third of its price where the processor has no SHA instructions.
    pub stored_blake3: Blake3,
    pub stages: Vec<StageTime>,
    /// The busiest stage.
    pub bottleneck: String,
    /// In the order given; at least `required` are `Ok`.
    pub uploads: Vec<(Slug, CopyResult)>,
    /// Blocks that were allocated at the peak.
    pub peak_blocks: usize,
}

/// Reads `source` to its end into all copies. On failure every upload has been aborted.
///
/// Dropping the future stops the stream too, but leaves the uploads' bytes to gc: cancel instead.
pub async fn dump(
    source: impl AsyncRead + Unpin + Send,
    copies: Vec<(Slug, Box<dyn Upload>)>,
    plan: DumpPlan,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Dumped, StreamError> {
    let required = plan.required.max(1);
    // Stops the stages when one of them fails, whatever the caller's token says.
    let stop = cancel.child_token();
    let _stop_on_drop = stop.clone().drop_guard();
    let raw_pool = BlockPool::new(plan.blocks / 2);
    let stored_pool = BlockPool::new(plan.blocks / 2);
    let gauges = [raw_pool.gauge(), stored_pool.gauge()];

    let names: Vec<Slug> = copies.iter().map(|(name, _)| name.clone()).collect();
    let fan = Fan::new(copies.len(), required, stop.clone());
    let mut tasks = JoinSet::new();
    let mut outputs = Vec::new();
    for (at, (name, upload)) in copies.into_iter().enumerate() {
        let (to_copy, from_sha) = mpsc::channel(HAND_OVER);
        outputs.push(to_copy);
        tasks.spawn(fan.clone().copy(at, name, upload, from_sha));
    }

    let (to_hash, from_source) = mpsc::channel(HAND_OVER);
    let (to_zstd, from_hash) = mpsc::channel(HAND_OVER);
    let (to_sha, from_zstd) = mpsc::channel(HAND_OVER);
    let hashing = spawn_blocking(move || hash(from_source, &to_zstd));
    let (from_tap, tapping) = match plan.tap {
        None => (from_hash, None),
        Some(tap) => {
            let (to_zstd, from_tap) = mpsc::channel(HAND_OVER);
            (from_tap, Some(spawn_blocking(move || inventory(tap, from_hash, &to_zstd))))
        }
    };
    let level = plan.level;
    let compressing = spawn_blocking(move || compress(level, from_tap, &to_sha, stored_pool));
    let counted = Arc::clone(&progress);
    let summing = spawn_blocking(move || sum(from_zstd, outputs, &counted));

    let read = read(source, raw_pool, to_hash, plan.expect_magic, &progress, &stop).await;
    if read.is_err() {
        stop.cancel();
    }
    // Every stage ends once its input has; on failure the copies drop theirs, which lets the stages end one by one.
    let (raw, hash_time) = join("blake3", hashing).await?;
    let tap_time = match tapping {
        Some(handle) => Some(join("inventory", handle).await?),
        None => None,
    };
    let compressed = join("zstd", compressing).await?;
    let (stored, again, sha_time) = join("sha256", summing).await?;
    let mut ended = Vec::with_capacity(names.len());
    while let Some(copy) = tasks.join_next().await {
        ended.push(copy.map_err(|_| StreamError::StageDied { stage: "copy" })?);
    }
    ended.sort_by_key(|copy| copy.at);

    let outcome = fan.judge(&names, &mut ended).and_then(|()| {
        let times = (read?, compressed?);
        // A copy that was told to stop has no error of its own, and may lack bytes even if the source was read whole.
        if stop.is_cancelled() { Err(StreamError::Cancelled) } else { Ok(times) }
    });
    let (source_time, zstd_time) = match outcome {
        Ok(times) => times,
        Err(error) => {
            abort_all(ended).await;
            return Err(if cancel.is_cancelled() { StreamError::Cancelled } else { error });
        }
    };
    let mut stages = vec![source_time, hash_time];
    stages.extend(tap_time);
    stages.extend([zstd_time, sha_time]);
    stages.extend(ended.iter().map(|copy| copy.time.clone()));
    Ok(Dumped {
        raw_bytes: raw.bytes,
        blake3: raw.digest(),
        stored_bytes: stored.bytes,
        stored_blake3: again.digest(),
        sha256: stored.digest(),
        bottleneck: bottleneck(&stages),
        stages,
        uploads: names.into_iter().zip(ended.into_iter().map(|copy| copy.result)).collect(),
        peak_blocks: gauges.iter().map(|gauge: &Arc<Gauge>| gauge.allocated()).sum(),
    })
}

async fn read(
    mut source: impl AsyncRead + Unpin,
    mut pool: BlockPool,
    to_hash: Sender<Bytes>,
    magic: Option<&'static [u8]>,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<StageTime, StreamError> {
    let mut watch = Watch::start("source");
    let work = async {
        let mut unchecked = magic;
        loop {
            let mut block = pool.take().await;
            watch.was_waiting();
            let mut ended = false;
            while !block.is_full() {
                let n = source.read(block.spare()).await;
                let n = n.map_err(|source| StreamError::Source { raw_bytes: progress.raw_bytes(), source })?;
                ended = n == 0;
                if ended {
                    break;
                }
                block.advance(n);
                progress.raw(n);
                if let Some(magic) = unchecked.take_if(|magic| block.filled().len() >= magic.len()) {
                    check_magic(magic, &block)?;
                }
            }
            watch.was_busy();
            if let Some(magic) = unchecked {
                check_magic(magic, &block)?;
            }
            // A closed channel means that a later stage has failed and will say why.
            if !block.is_empty() && to_hash.send(block.freeze()).await.is_err() || ended {
                watch.was_waiting();
                return Ok(());
            }
            watch.was_waiting();
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => return Err(StreamError::Cancelled),
        done = work => done?,
    }
    Ok(watch.time())
}

fn check_magic(magic: &[u8], block: &Block) -> Result<(), StreamError> {
    let found = block.filled();
    if found.starts_with(magic) {
        return Ok(());
    }
    let found = match found.get(..found.len().min(16)) {
        None | Some([]) => "nothing".to_owned(),
        Some(head) => format!(
            "something that begins with {:?} instead of {:?}",
            head.escape_ascii().to_string(),
            magic.escape_ascii().to_string()
        ),
    };
    Err(StreamError::BadFormat { found })
}

fn hash(mut input: Receiver<Bytes>, output: &Sender<Bytes>) -> (RawHash, StageTime) {
    let mut watch = Watch::of_thread("blake3");
    let mut hash = RawHash::default();
    while let Some(block) = input.blocking_recv() {
        watch.was_waiting();
        hash.update(&block);
        watch.was_busy();
        if output.blocking_send(block).is_err() {
            break;
        }
    }
    watch.was_waiting();
    (hash, watch.time())
}

fn inventory(mut tap: Tap, mut input: Receiver<Bytes>, output: &Sender<Bytes>) -> StageTime {
    let mut watch = Watch::of_thread("inventory");
    while let Some(block) = input.blocking_recv() {
        watch.was_waiting();
        tap(&block);
        watch.was_busy();
        if output.blocking_send(block).is_err() {
            break;
        }
    }
    watch.was_waiting();
    watch.time()
}

fn sum(
    mut input: Receiver<Bytes>,
    mut outputs: Vec<Sender<Bytes>>,
    progress: &Progress,
) -> (StoredHash, RawHash, StageTime) {
    let mut watch = Watch::of_thread("sha256");
    let (mut hash, mut again) = (StoredHash::new(), RawHash::default());
    while let Some(block) = input.blocking_recv() {
        watch.was_waiting();
        hash.update(&block);
        again.update(&block);
        watch.was_busy();
        outputs.retain(|output| output.blocking_send(block.clone()).is_ok());
        if outputs.is_empty() {
            break;
        }
        progress.stored(block.len());
    }
    watch.was_waiting();
    (hash, again, watch.time())
}
