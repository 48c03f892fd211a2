//! The last stage: each copy takes the stored blocks for itself, and may be lost without the others as long as enough live.
//! One that lags is given up by the same rule; where every copy is needed, the slowest sets the pace instead.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use shared::name::Slug;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Destination;
use crate::store::{StoreError, Upload};
use crate::stream::progress::Watch;
use crate::stream::{StageTime, StreamError};

/// How long cleaning up after a failure may take; what is left then is gc's.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a copy is sent.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    Bytes(Bytes),
    /// The object ends here, and another begins.
    Cut,
}

/// The way to one copy.
pub(super) struct Output {
    pub(super) at: usize,
    pub(super) to_copy: Sender<Piece>,
}

/// How one copy went.
pub(super) struct Copied {
    pub(super) at: usize,
    pub(super) result: Result<Vec<Box<dyn Upload>>, StoreError>,
    pub(super) time: StageTime,
}

/// Counts the copies that are left, and stops the stream when they are too few.
pub(super) struct Fan {
    members: Vec<Member>,
    alive: Mutex<usize>,
    required: usize,
    laggard: Duration,
    stop: CancellationToken,
    runtime: Handle,
}

struct Member {
    name: Slug,
    /// Ends a copy that lags.
    given_up: CancellationToken,
    /// Whether it was counted out; changed under the lock of `alive`.
    lost: Mutex<bool>,
    /// Counts what the store has taken.
    taken: AtomicU64,
}

impl Fan {
    pub(super) fn new(names: &[Slug], required: usize, laggard: Duration, stop: CancellationToken) -> Arc<Self> {
        let member = |name: &Slug| Member {
            name: name.clone(),
            given_up: CancellationToken::new(),
            lost: Mutex::new(false),
            taken: AtomicU64::new(0),
        };
        Arc::new(Self {
            members: names.iter().map(member).collect(),
            alive: Mutex::new(names.len()),
            required,
            laggard,
            stop,
            runtime: Handle::current(),
        })
    }

    /// Hands a piece to a copy, from a stage's thread; `false` once the copy is lost.
    pub(super) fn send(&self, output: &Output, piece: Piece) -> bool {
        let piece = match output.to_copy.try_send(piece) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(piece)) => piece,
        };
        loop {
            let waited = tokio::time::timeout(self.laggard, output.to_copy.reserve());
            match self.runtime.block_on(waited) {
                Ok(Ok(room)) => {
                    room.send(piece);
                    return true;
                }
                Ok(Err(_)) => return false,
                Err(_) if self.give_up(output.at) => return false,
                // It is needed: all wait for it.
                Err(_) => {}
            }
        }
    }

    /// Gives a copy up that takes nothing, unless it is needed.
    fn give_up(&self, at: usize) -> bool {
        let Some(member) = self.members.get(at) else { return false };
        if !self.count_out(member, true) {
            if !member.given_up.is_cancelled() {
                tracing::warn!(store = %member.name, "the dump waits for a store that takes nothing: its copy is needed");
            }
            return false;
        }
        tracing::warn!(store = %member.name, after_s = self.laggard.as_secs(), "a copy is given up: its store takes nothing, and enough others go on");
        member.given_up.cancel();
        true
    }

    /// Counts a copy out, once. If it is to be `spared`, only while the others are enough; else the stream is stopped when
    /// they are not.
    fn count_out(&self, member: &Member, spared: bool) -> bool {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lost = member.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if *lost || (spared && *alive <= self.required) {
            return false;
        }
        *lost = true;
        *alive = alive.saturating_sub(1);
        if *alive < self.required {
            self.stop.cancel();
        }
        true
    }

    /// One copy, from its first byte to its last.
    pub(super) async fn copy(
        self: Arc<Self>,
        at: usize,
        destination: Destination,
        mut input: Receiver<Piece>,
    ) -> Copied {
        let Destination { name, upload, mut more, .. } = destination;
        let mut watch = Watch::start(format!("copy:{name}"));
        let mut uploads = vec![upload];
        let Some(member) = self.members.get(at) else {
            let result = Err(StoreError::lagging(&name, 0));
            return Copied { at, result, time: watch.time() };
        };
        let work = async {
            while let Some(piece) = input.recv().await {
                watch.was_waiting();
                let number = u32::try_from(uploads.len()).unwrap_or(u32::MAX);
                match (piece, uploads.last_mut(), &mut more) {
                    (Piece::Bytes(bytes), Some(upload), _) => upload.write(bytes).await?,
                    (Piece::Cut, Some(upload), Some(more)) => {
                        upload.end().await?;
                        uploads.push(more.open(number + 1).await?);
                    }
                    (_, None, _) | (Piece::Cut, _, None) => {}
                }
                member.taken.fetch_add(1, Ordering::Relaxed);
                watch.was_busy();
            }
            watch.was_waiting();
            if let Some(upload) = uploads.last_mut() {
                upload.end().await?;
            }
            watch.was_busy();
            Ok(())
        };
        let written = tokio::select! {
            biased;
            // The bytes end where they are; `dump` aborts the uploads and says why.
            () = self.stop.cancelled() => Ok(()),
            () = member.given_up.cancelled() => Err(StoreError::lagging(&name, self.laggard.as_secs())),
            written = work => written,
        };
        drop(input);
        let result = match written {
            Ok(()) => Ok(uploads),
            Err(error) => {
                self.count_out(member, false);
                abort(&name, uploads).await;
                Err(error)
            }
        };
        Copied { at, result, time: watch.time() }
    }

    /// Waits for all copies, in their order. All was sent to them: one that takes nothing any more is given up as before.
    pub(super) async fn ended(&self, tasks: &mut JoinSet<Copied>) -> Result<Vec<Copied>, StreamError> {
        let taken = || -> Vec<u64> { self.members.iter().map(|member| member.taken.load(Ordering::Relaxed)).collect() };
        let mut ended: Vec<Copied> = Vec::new();
        let mut before = taken();
        loop {
            match tokio::time::timeout(self.laggard, tasks.join_next()).await {
                Ok(None) => break,
                Ok(Some(copy)) => ended.push(copy.map_err(|_| StreamError::StageDied { stage: "copy" })?),
                Err(_) => {
                    let now = taken();
                    for at in (0..now.len()).filter(|at| ended.iter().all(|copy| copy.at != *at)) {
                        if now.get(at) == before.get(at) {
                            self.give_up(at);
                        }
                    }
                    before = now;
                }
            }
        }
        ended.sort_by_key(|copy| copy.at);
        Ok(ended)
    }

    /// An error if too few copies are left, with the cause of the last one lost.
    pub(super) fn judge(&self, names: &[Slug], ended: &mut Vec<Copied>) -> Result<(), StreamError> {
        let good = ended.iter().filter(|copy| copy.result.is_ok()).count();
        if good >= self.required {
            return Ok(());
        }
        let Some(lost) = ended.iter().position(|copy| copy.result.is_err()).map(|at| ended.remove(at)) else {
            return Err(StreamError::TooFewCopies { required: self.required, given: good });
        };
        let store = names.get(lost.at).map(ToString::to_string).unwrap_or_default();
        match lost.result {
            Err(source) => Err(StreamError::Copies { required: self.required, good, store, source }),
            Ok(_) => Ok(()),
        }
    }
}

pub(super) async fn abort_all(ended: Vec<Copied>) {
    for copy in ended {
        if let Ok(uploads) = copy.result {
            let (_, store) = copy.time.name.split_once(':').unwrap_or_default();
            abort(store, uploads).await;
        }
    }
}

async fn abort(store: impl fmt::Display, uploads: Vec<Box<dyn Upload>>) {
    let all = async {
        for upload in uploads {
            if let Err(error) = upload.abort().await {
                tracing::warn!(%store, error = %shared::telemetry::Causes(&error), "aborting an upload failed, gc will remove it");
            }
        }
    };
    if tokio::time::timeout(ABORT_TIMEOUT, all).await.is_err() {
        tracing::warn!(%store, "aborting an upload took too long, gc will remove it");
    }
}
