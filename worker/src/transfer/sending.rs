//! Bytes on their way to whoever asked. Each object that is sent whole is proven by its recorded SHA-256 before its last
//! block leaves: what is damaged ends as a broken connection, never as something that looks whole.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use ring::digest::{Context as Digest, SHA256};
use shared::{db::tickets, id::TransferId, telemetry::Causes};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::layout::{Layout, Segment};
use crate::{
    context::Context,
    record::reading::CopyObject,
    store::{ByteStream, Store, StoreError},
};

/// Blocks under way: with those of 1 MiB that stores give, all that a transfer holds.
const AHEAD: usize = 2;

/// Why sending ended before its end.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the receiver has gone")]
    Receiver,
    #[error("no byte moved for {0} s")]
    Stalled(u64),
    #[error("reading the save failed")]
    Store(#[from] StoreError),
    #[error("object {part} is not what was saved: {what}")]
    Damaged { part: String, what: &'static str },
    #[error("the database did not answer for a whole lease, so the save may be deleted")]
    Unprotected,
    #[error("the worker stops")]
    Stopping,
}

/// One transfer.
#[derive(Debug)]
pub(super) struct Sending {
    ctx: Arc<Context>,
    id: TransferId,
    layout: Layout,
    store: Arc<dyn Store>,
    /// From this byte up to, and without, that one.
    from: u64,
    until: u64,
    /// The first object that is read, opened.
    opened: Option<Opened>,
    cancel: CancellationToken,
    _cancel_on_drop: DropGuard,
}

struct Opened(ByteStream);

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

impl Sending {
    /// Opens the first object, so that a store that is away is told before anything is promised.
    pub(super) async fn open(
        ctx: Arc<Context>,
        id: TransferId,
        layout: Layout,
        store: Arc<dyn Store>,
        (from, until): (u64, u64),
    ) -> Result<Self, StoreError> {
        let cancel = CancellationToken::new();
        let guard = cancel.clone().drop_guard();
        let mut this = Self { ctx, id, layout, store, from, until, opened: None, cancel, _cancel_on_drop: guard };
        let mut at = 0;
        for segment in &this.layout.segments {
            let (start, end) = (at, at + segment.length());
            at = end;
            if let Segment::Object(object) = segment
                && start.max(from) < end.min(until)
            {
                let offset = start.max(from) - start;
                this.opened = Some(Opened(this.store.read_from(&object.key, offset, &this.cancel).await?));
                break;
            }
        }
        Ok(this)
    }

    /// Starts to send. What is received ends with an error unless it is whole.
    pub(super) fn start(
        self,
        hard: CancellationToken,
        tasks: &tokio_util::task::TaskTracker,
    ) -> mpsc::Receiver<io::Result<Bytes>> {
        let (to, receiver) = mpsc::channel(AHEAD);
        tasks.spawn(self.run(hard, to));
        receiver
    }

    async fn run(mut self, hard: CancellationToken, to: mpsc::Sender<io::Result<Bytes>>) {
        let (ctx, id) = (Arc::clone(&self.ctx), self.id);
        let ended = tokio::select! {
            ended = self.send(&to) => ended,
            () = protect(&ctx, id) => Err(Broken::Unprotected),
            () = hard.cancelled() => Err(Broken::Stopping),
        };
        match ended {
            Ok(()) => {}
            Err(Broken::Receiver) => tracing::info!(transfer.id = %id, "the receiver of a transfer has gone"),
            Err(error) => {
                tracing::warn!(transfer.id = %id, error = %Causes(&error), "a transfer broke off");
                // Whoever does not take even this has gone, or finds the channel closed short of the promised length.
                timeout(self.ctx.transfer.stall, to.send(Err(io::Error::other("the transfer broke off")))).await.ok();
            }
        }
        drop(to);
        release(&ctx, id).await;
    }

    async fn send(&mut self, to: &mpsc::Sender<io::Result<Bytes>>) -> Result<(), Broken> {
        let mut at = 0;
        for segment in self.layout.segments.clone() {
            let (start, end) = (at, at + segment.length());
            at = end;
            let (from, until) = (start.max(self.from), end.min(self.until));
            if from >= until {
                continue;
            }
            match segment {
                Segment::Bytes(bytes) => {
                    let piece = |n: u64| usize::try_from(n - start).unwrap_or(usize::MAX).min(bytes.len());
                    give(self.ctx.transfer.stall, to, bytes.slice(piece(from)..piece(until))).await?;
                }
                Segment::Object(object) => self.object(to, &object, from - start, until - from).await?,
            }
        }
        Ok(())
    }

    async fn object(
        &mut self,
        to: &mpsc::Sender<io::Result<Bytes>>,
        object: &CopyObject,
        offset: u64,
        length: u64,
    ) -> Result<(), Broken> {
        let stall = self.ctx.transfer.stall;
        let damaged = |what| Broken::Damaged { part: object.part.clone(), what };
        let mut blocks = match self.opened.take() {
            Some(Opened(blocks)) => blocks,
            None => self.store.read_from(&object.key, offset, &self.cancel).await?,
        };
        let mut digest = (length == object.stored.stored_bytes).then(|| Digest::new(&SHA256));
        let (mut left, mut held) = (length, None);
        loop {
            let Some(block) = in_time(stall, blocks.next()).await? else { break };
            let mut block: Bytes = block?;
            if block.len() as u64 > left {
                if digest.is_some() {
                    return Err(damaged("it is longer than its record says"));
                }
                block.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            }
            if block.is_empty() {
                if left == 0 && digest.is_none() {
                    break;
                }
                continue;
            }
            left -= block.len() as u64;
            if let Some(digest) = &mut digest {
                digest.update(&block);
            }
            if let Some(before) = held.replace(block) {
                give(stall, to, before).await?;
            }
            if left == 0 && digest.is_none() {
                break;
            }
        }
        if left > 0 {
            return Err(damaged("it is shorter than its record says"));
        }
        if digest.is_some_and(|digest| digest.finish().as_ref() != object.stored.sha256.0) {
            return Err(damaged("its SHA-256 is another"));
        }
        match held {
            Some(last) => give(stall, to, last).await,
            None => Ok(()),
        }
    }
}

async fn give(stall: Duration, to: &mpsc::Sender<io::Result<Bytes>>, bytes: Bytes) -> Result<(), Broken> {
    if bytes.is_empty() {
        return Ok(());
    }
    in_time(stall, to.send(Ok(bytes))).await?.map_err(|_| Broken::Receiver)
}

async fn in_time<T>(stall: Duration, work: impl Future<Output = T>) -> Result<T, Broken> {
    timeout(stall, work).await.map_err(|_| Broken::Stalled(stall.as_secs()))
}

/// Says again and again that the save is in use. Ends when that could not be said for a whole lease.
async fn protect(ctx: &Context, id: TransferId) {
    let (beat, lease) = (ctx.settings.beat, ctx.settings.lease);
    let mut until = Instant::now() + lease;
    loop {
        tokio::time::sleep(beat).await;
        let sent = Instant::now();
        let beat = async {
            let mut conn = ctx.beats.acquire().await?;
            tickets::beat(&mut conn, id, lease).await
        };
        match tokio::time::timeout_at(until, beat).await {
            Ok(Ok(())) => until = sent + lease,
            Ok(Err(error)) if Instant::now() < until => {
                tracing::warn!(transfer.id = %id, error = %Causes(&error), "the beat of a transfer failed and is tried again");
            }
            _ => return,
        }
    }
}

/// The save is free again. Where that cannot be said, the lease runs out.
pub(super) async fn release(ctx: &Context, id: TransferId) {
    let released = async {
        let mut conn = ctx.pool.acquire().await?;
        tickets::end(&mut conn, id).await
    };
    match timeout(ctx.settings.lease, released).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(transfer.id = %id, error = %Causes(&error), "the end of a transfer was not written");
        }
        Err(_) => tracing::warn!(transfer.id = %id, "writing the end of a transfer took too long"),
    }
}
