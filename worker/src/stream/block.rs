//! A fixed number of 1 MiB blocks. Memory is bounded because whoever wants a block waits until a reader drops one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Size of a block: large enough that hand-overs cost nothing, small enough that a stream needs few MiB.
pub const BLOCK_BYTES: usize = 1 << 20;

/// Blocks for one producer. It takes an empty [`Block`], fills it and freezes it into [`Bytes`]; the memory comes back
/// when the last clone is dropped.
///
/// Each producer has a pool of its own: with one pool for two stages, the first could take every block and the
/// second would wait for ever for one to write into.
#[derive(Debug)]
pub struct BlockPool {
    home: mpsc::Sender<Vec<u8>>,
    free: mpsc::Receiver<Vec<u8>>,
    gauge: Arc<Gauge>,
    limit: usize,
}

/// How many blocks a pool has ever allocated: its peak memory in blocks, readable after the pool is gone.
#[derive(Debug, Default)]
pub struct Gauge {
    allocated: AtomicUsize,
}

impl Gauge {
    /// Blocks allocated so far; never more than the pool's limit, and none is given back to the system in between.
    pub fn allocated(&self) -> usize {
        self.allocated.load(Ordering::Relaxed)
    }
}

impl BlockPool {
    /// A pool of at most `limit` blocks (at least two). They are allocated when first wanted, so that a small stream
    /// costs little.
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(2);
        let (home, free) = mpsc::channel(limit);
        Self { home, free, gauge: Arc::default(), limit }
    }

    /// The gauge of this pool, shared.
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// The next free block, waiting for one. Cancel safe.
    pub async fn take(&mut self) -> Block {
        if let Some(block) = self.try_take() {
            block
        } else {
            let data = self.free.recv().await.unwrap_or_else(|| vec![0; BLOCK_BYTES]);
            self.block(data)
        }
    }

    /// The next free block, for a thread outside the runtime.
    pub fn blocking_take(&mut self) -> Block {
        if let Some(block) = self.try_take() {
            block
        } else {
            let data = self.free.blocking_recv().unwrap_or_else(|| vec![0; BLOCK_BYTES]);
            self.block(data)
        }
    }

    fn try_take(&mut self) -> Option<Block> {
        if let Ok(data) = self.free.try_recv() {
            return Some(self.block(data));
        }
        if self.gauge.allocated() < self.limit {
            self.gauge.allocated.fetch_add(1, Ordering::Relaxed);
            return Some(self.block(vec![0; BLOCK_BYTES]));
        }
        None
    }

    fn block(&self, data: Vec<u8>) -> Block {
        Block { data, len: 0, home: self.home.clone() }
    }
}

/// One block being filled.
#[derive(Debug)]
pub struct Block {
    data: Vec<u8>,
    len: usize,
    home: mpsc::Sender<Vec<u8>>,
}

impl Block {
    /// The part that is not filled yet.
    pub fn spare(&mut self) -> &mut [u8] {
        self.data.get_mut(self.len..).unwrap_or_default()
    }

    /// Says that `n` bytes of [`Self::spare`] have been filled.
    pub fn advance(&mut self, n: usize) {
        self.len = (self.len + n).min(self.data.len());
    }

    /// The filled part.
    pub fn filled(&self) -> &[u8] {
        self.data.get(..self.len).unwrap_or_default()
    }

    pub fn is_full(&self) -> bool {
        self.len == self.data.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The filled part as shared bytes, without copying.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Block {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Refused only when the pool is gone; then the memory is simply freed.
        self.home.try_send(std::mem::take(&mut self.data)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_block_comes_back_when_its_last_reader_is_gone_and_not_before() {
        let mut pool = BlockPool::new(2);
        let mut block = pool.take().await;
        block.advance(3);
        let (one, two) = {
            let bytes = block.freeze();
            (bytes.clone(), bytes)
        };
        let _other = pool.take().await;
        assert!(pool.try_take().is_none(), "a third block was handed out");
        drop(one);
        assert!(pool.try_take().is_none(), "the block came back while somebody still read it");
        drop(two);
        assert!(pool.try_take().is_some_and(|b| b.is_empty() && b.data.len() == BLOCK_BYTES));
        assert_eq!(pool.gauge().allocated(), 2);
    }
}
