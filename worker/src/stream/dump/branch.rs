//! From the compressed stream to the copies: one branch for each distinct encryption. A branch takes the digests of what its
//! copies store, and says where an object ends and the next begins.

use std::sync::Arc;

use bytes::Bytes;
use shared::name::Slug;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinSet;

use super::fan::{Copied, Fan, Output, Piece};
use super::{Destination, SentObject};
use crate::stream::encrypt::Encryption;
use crate::stream::hash::{RawHash, StoredHash};
use crate::stream::progress::Watch;
use crate::stream::{Progress, StageTime};

/// Copies that store the same bytes.
pub(super) struct Branch {
    /// The store of its first copy.
    pub(super) name: Slug,
    pub(super) encryption: Option<Arc<Encryption>>,
    /// The smallest of its copies' limits.
    pub(super) limit: Option<u64>,
    pub(super) outputs: Vec<Output>,
    /// Its copies, by their place among all.
    pub(super) members: Vec<usize>,
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
}

/// The stage before the copies. Ends early when none of them takes anything any more.
pub(super) fn sum(
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
