//! Engine output to copies.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use shared::name::Slug;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::encrypt::Encryption;
use super::hash::RawHash;
use super::pace::Pace;
use super::progress::{Watch, bottleneck};
use super::{
    Blake3, Block, BlockPool, DEFAULT_BLOCKS, DEFAULT_LAGGARD, DEFAULT_LEVEL, HAND_OVER, Progress, Sha256, StageTime,
    StreamError, join,
};
use crate::store::{StoreError, Upload};

mod branch;
mod compress;
mod fan;

use branch::Branch;
use compress::compress;
use fan::{Fan, abort_all};

/// Sees every raw block in order, on a thread of its own (the inventory). It keeps its result where the caller finds it;
/// after the stream it has been dropped.
pub type Tap = Box<dyn FnMut(&Bytes) + Send>;

/// Where one copy goes.
#[derive(Debug)]
pub struct Destination {
    /// The store's name.
    pub name: Slug,
    /// The first object's.
    pub upload: Box<dyn Upload>,
    /// Opens the objects after the first. Without it the stream is never cut.
    pub more: Option<Box<dyn NextObject>>,
    /// Destinations that encrypt to the same share one encrypted stream, and are cut at the same bytes.
    pub encryption: Option<Arc<Encryption>>,
    /// The most bytes that an object may have there.
    pub max_object_bytes: Option<u64>,
}

impl Destination {
    /// Plain and in one object.
    pub fn plain(name: Slug, upload: Box<dyn Upload>) -> Self {
        Self { name, upload, more: None, encryption: None, max_object_bytes: None }
    }
}

/// Opens the further objects of a stream that one object cannot hold.
#[async_trait]
pub trait NextObject: Send + fmt::Debug {
    /// `number` counts from 1, which was opened before the stream began. What names the object is committed before this
    /// returns.
    async fn open(&mut self, number: u32) -> Result<Box<dyn Upload>, StoreError>;
}

/// How one copy ended: its objects in order, each with an upload that awaits its commit; or why it was lost.
pub type CopyResult = Result<Vec<WrittenObject>, StoreError>;

/// An object that was sent, and is not committed.
#[derive(Debug)]
pub struct WrittenObject {
    pub upload: Box<dyn Upload>,
    pub sent: SentObject,
}

/// What was sent as one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentObject {
    pub bytes: u64,
    pub sha256: Sha256,
    /// For the read-back: of the same bytes as `sha256`, and a third of its price where the processor has no SHA instructions.
    pub blake3: Blake3,
}

/// What a dump stream is asked to do.
pub struct DumpPlan {
    /// zstd level, 1–19.
    pub level: i32,
    /// What the output must begin with, else `empty_or_bad_format`. Without it anything is taken, also nothing.
    pub expect_magic: Option<&'static [u8]>,
    /// 1 MiB blocks this stream may hold; each encryption beside the first form of the bytes has half as many again.
    pub blocks: usize,
    /// Copies without which the stream fails. More may be written; losing those is reported only.
    pub required: usize,
    /// A copy that takes nothing for so long while its buffer is full is given up, as long as more than `required` live.
    pub laggard: Duration,
    pub tap: Option<Tap>,
    /// Raw bytes per second at most; none: as fast as it goes.
    pub bytes_per_s: Option<u64>,
}

impl Default for DumpPlan {
    fn default() -> Self {
        Self {
            level: DEFAULT_LEVEL,
            expect_magic: None,
            blocks: DEFAULT_BLOCKS,
            required: 1,
            laggard: DEFAULT_LAGGARD,
            tap: None,
            bytes_per_s: None,
        }
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
    pub stages: Vec<StageTime>,
    /// The busiest stage.
    pub bottleneck: String,
    /// In the order given; at least `required` are `Ok`.
    pub copies: Vec<(Slug, CopyResult)>,
    /// Blocks that were allocated at the peak.
    pub peak_blocks: usize,
}

/// Reads `source` to its end into all copies. On failure every upload has been aborted.
///
/// Dropping the future stops the stream too, but leaves the uploads' bytes to gc: cancel instead.
pub async fn dump(
    source: impl AsyncRead + Unpin + Send,
    copies: Vec<Destination>,
    plan: DumpPlan,
    progress: Arc<Progress>,
    cancel: &CancellationToken,
) -> Result<Dumped, StreamError> {
    let required = plan.required.max(1);
    // Stops the stages when one of them fails, whatever the caller's token says.
    let stop = cancel.child_token();
    let _stop_on_drop = stop.clone().drop_guard();
    let names: Vec<Slug> = copies.iter().map(|copy| copy.name.clone()).collect();
    let fan = Fan::new(&names, required, plan.laggard, stop.clone());
    // Below four blocks a copy that hangs would hold them all, and nobody could tell that it is the one.
    let half = (plan.blocks / 2).max(4);
    let buffer = (half - 3).min(HAND_OVER);
    let (branches, mut tasks) = Branch::all(copies, &fan, buffer);
    let raw_pool = BlockPool::new(plan.blocks / 2);
    let zstd_pool = BlockPool::new(if branches.iter().all(|branch| branch.encryption.is_some()) { 4 } else { half });
    let mut gauges = vec![raw_pool.gauge(), zstd_pool.gauge()];

    let (to_hash, from_source) = mpsc::channel(HAND_OVER);
    let (to_zstd, from_hash) = mpsc::channel(HAND_OVER);
    let hashing = spawn_blocking(move || hash(from_source, &to_zstd));
    let (from_tap, tapping) = match plan.tap {
        None => (from_hash, None),
        Some(tap) => {
            let (to_zstd, from_tap) = mpsc::channel(HAND_OVER);
            (from_tap, Some(spawn_blocking(move || inventory(tap, from_hash, &to_zstd))))
        }
    };
    let several = branches.len() > 1;
    let (mut to_branches, mut running) = (Vec::new(), Vec::new());
    for (n, branch) in branches.into_iter().enumerate() {
        // Bytes are counted once, however many branches there are.
        let counted = (n == 0).then(|| Arc::clone(&progress));
        let (to_branch, stages) = branch.start(several, half, &fan, counted, &mut gauges);
        to_branches.push(to_branch);
        running.push(stages);
    }
    let level = plan.level;
    let compressing = spawn_blocking(move || compress(level, from_tap, to_branches, zstd_pool));

    let pace = plan.bytes_per_s.map(Pace::new);
    let read = read(source, raw_pool, to_hash, (plan.expect_magic, pace), &progress, &stop).await;
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
    let mut encrypted = Ok(());
    let mut branch_times = Vec::new();
    let mut sums: Vec<Vec<SentObject>> = vec![Vec::new(); names.len()];
    for branch in running {
        let ended = branch.ended(&mut sums, &mut branch_times).await?;
        encrypted = encrypted.and(ended);
    }
    let mut ended = fan.ended(&mut tasks).await?;

    let outcome = fan.judge(&names, &mut ended).and_then(|()| {
        let times = (read?, compressed?);
        encrypted?;
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
    stages.push(zstd_time);
    stages.extend(branch_times);
    stages.extend(ended.iter().map(|copy| copy.time.clone()));
    let copies = names.into_iter().zip(ended).zip(sums);
    Ok(Dumped {
        raw_bytes: raw.bytes,
        blake3: raw.digest(),
        bottleneck: bottleneck(&stages),
        stages,
        copies: copies.map(|((name, copy), sums)| (name, copy.result.map(|uploads| written(uploads, sums)))).collect(),
        peak_blocks: gauges.iter().map(|gauge| gauge.allocated()).sum(),
    })
}

fn written(uploads: Vec<Box<dyn Upload>>, sent: Vec<SentObject>) -> Vec<WrittenObject> {
    uploads.into_iter().zip(sent).map(|(upload, sent)| WrittenObject { upload, sent }).collect()
}

pub(super) async fn read(
    mut source: impl AsyncRead + Unpin,
    mut pool: BlockPool,
    to_hash: Sender<Bytes>,
    (magic, mut pace): (Option<&'static [u8]>, Option<Pace>),
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
                let most = pace.as_ref().map_or(usize::MAX, Pace::most);
                let spare = block.spare();
                let spare = match spare.get_mut(..most) {
                    Some(first) => first,
                    None => spare,
                };
                let n = source.read(spare).await;
                let n = n.map_err(|source| StreamError::Source { raw_bytes: progress.raw_bytes(), source })?;
                ended = n == 0;
                if ended {
                    break;
                }
                block.advance(n);
                progress.raw(n);
                if let Some(pace) = &mut pace {
                    watch.was_busy();
                    tokio::time::sleep_until(pace.spend(tokio::time::Instant::now(), n)).await;
                    watch.was_waiting();
                }
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
                return Ok::<_, StreamError>(());
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
