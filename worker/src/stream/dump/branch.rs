//! From the compressed stream to the copies: one branch for each distinct encryption. A branch takes the digests of what its
//! copies store, and says where an object ends and the next begins.

use std::sync::Arc;

use bytes::Bytes;
use shared::name::Slug;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use super::fan::{Copied, Fan, Output, Piece};
use super::{Destination, SentObject};
use crate::stream::encrypt::{Encryption, encrypt};
use crate::stream::hash::{RawHash, StoredHash};
use crate::stream::progress::Watch;
use crate::stream::{BlockPool, Gauge, HAND_OVER, Progress, StageTime, StreamError, join};

/// Copies that store the same bytes.
pub(super) struct Branch {
    /// The store of its first copy.
    name: Slug,
    pub(super) encryption: Option<Arc<Encryption>>,
    /// The smallest of its copies' limits.
    limit: Option<u64>,
    outputs: Vec<Output>,
    /// Its copies, by their place among all.
    members: Vec<usize>,
}

impl Branch {
    /// Groups the copies by their encryption and starts the task of each.
    pub(super) fn all(copies: Vec<Destination>, fan: &Arc<Fan>, buffer: usize) -> (Vec<Self>, JoinSet<Copied>) {
        let mut branches: Vec<Self> = Vec::new();
        let mut tasks = JoinSet::new();
        for (at, copy) in copies.into_iter().enumerate() {
            let (to_copy, from_sum) = mpsc::channel(buffer);
            // What cannot be continued is never cut.
            let limit = copy.more.is_some().then_some(copy.max_object_bytes).flatten();
            let same = branches.iter_mut().find(|branch| match (&branch.encryption, &copy.encryption) {
                (None, None) => true,
                (Some(one), Some(other)) => one.is_same_lock(other),
                _ => false,
            });
            let output = Output { at, to_copy };
            match same {
                Some(branch) => {
                    branch.limit = branch.limit.into_iter().chain(limit).min();
                    branch.outputs.push(output);
                    branch.members.push(at);
                }
                None => branches.push(Self {
                    name: copy.name.clone(),
                    encryption: copy.encryption.clone(),
                    limit,
                    outputs: vec![output],
                    members: vec![at],
                }),
            }
            tasks.spawn(Arc::clone(fan).copy(at, copy, from_sum));
        }
        (branches, tasks)
    }

    /// Starts the stages of the branch; what they read comes through the sender. `blocks` are those of the encrypted form.
    pub(super) fn start(
        self,
        several: bool,
        blocks: usize,
        fan: &Arc<Fan>,
        counted: Option<Arc<Progress>>,
        gauges: &mut Vec<Arc<Gauge>>,
    ) -> (Sender<Bytes>, Running) {
        let Self { name, encryption, limit, outputs, members } = self;
        let stage = |what: &str| if several { format!("{what}:{name}") } else { what.to_owned() };
        let (to_branch, mut input) = mpsc::channel(HAND_OVER.min(blocks - 3));
        let encrypting = encryption.map(|encryption| {
            let (to_sum, from_age) = mpsc::channel(1);
            let from_zstd = std::mem::replace(&mut input, from_age);
            let pool = BlockPool::new(blocks);
            gauges.push(pool.gauge());
            let name = stage("age");
            spawn_blocking(move || encrypt(&name, &encryption, from_zstd, to_sum, pool))
        });
        let (name, fan) = (stage("sha256"), Arc::clone(fan));
        let summing = spawn_blocking(move || sum(&name, input, limit, outputs, &fan, counted.as_deref()));
        (to_branch, Running { encrypting, summing, members })
    }
}

/// The stages of a branch.
pub(super) struct Running {
    encrypting: Option<JoinHandle<Result<StageTime, StreamError>>>,
    summing: JoinHandle<(Vec<SentObject>, StageTime)>,
    members: Vec<usize>,
}

impl Running {
    /// Waits for the stages, and notes for each copy what was sent to it. Whether the encryption went well is the inner
    /// result: the caller first waits for all others.
    pub(super) async fn ended(
        self,
        sums: &mut [Vec<SentObject>],
        times: &mut Vec<StageTime>,
    ) -> Result<Result<(), StreamError>, StreamError> {
        let mut encrypted = Ok(());
        if let Some(encrypting) = self.encrypting {
            match join("age", encrypting).await? {
                Ok(time) => times.push(time),
                Err(error) => encrypted = Err(error),
            }
        }
        let (sent, time) = join("sha256", self.summing).await?;
        times.push(time);
        for at in self.members {
            if let Some(sums) = sums.get_mut(at) {
                sums.clone_from(&sent);
            }
        }
        Ok(encrypted)
    }
}

/// The stage before the copies. Ends early when none of them takes anything any more.
fn sum(
    name: &str,
    mut input: Receiver<Bytes>,
    limit: Option<u64>,
    mut outputs: Vec<Output>,
    fan: &Fan,
    progress: Option<&Progress>,
) -> (Vec<SentObject>, StageTime) {
    let mut watch = Watch::of_thread(name);
    let mut objects = Vec::new();
    let mut current = (StoredHash::new(), RawHash::default());
    while let Some(mut block) = input.blocking_recv() {
        watch.was_waiting();
        while !block.is_empty() {
            let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(current.0.bytes));
            if left == 0 {
                objects.push(sent(std::mem::replace(&mut current, (StoredHash::new(), RawHash::default()))));
                outputs.retain(|output| fan.send(output, Piece::Cut));
                continue;
            }
            let piece = block.split_to(usize::try_from(left).unwrap_or(usize::MAX).min(block.len()));
            current.0.update(&piece);
            current.1.update(&piece);
            watch.was_busy();
            outputs.retain(|output| fan.send(output, Piece::Bytes(piece.clone())));
            if let Some(progress) = progress {
                progress.stored(piece.len());
            }
            watch.was_waiting();
        }
        if outputs.is_empty() {
            break;
        }
    }
    watch.was_waiting();
    objects.push(sent(current));
    (objects, watch.time())
}

fn sent((sha256, blake3): (StoredHash, RawHash)) -> SentObject {
    SentObject { bytes: blake3.bytes, sha256: sha256.digest(), blake3: blake3.digest() }
}
