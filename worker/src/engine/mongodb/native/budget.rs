//! What the answers of a server may take of a worker's memory, all collections of a dump together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of all batches that are asked for or not yet written.
const BUDGET: usize = 32 * MIB;
const MIB: usize = 1024 * 1024;
/// What one answer has at most: mongod fills it up to here. Reserved where nothing is known yet.
const LARGEST_ANSWER: usize = 16 * MIB;
/// A collection with documents beyond this is read alone.
const LARGE_DOCUMENT: usize = 4 * MIB;

/// Shared by the collections of a dump.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

/// What one collection has shown of itself, and so will ask for.
#[derive(Debug, Default)]
pub(super) struct Appetite {
    largest_batch: usize,
    largest_document: usize,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET / 1024)))
    }

    /// Waits until there is room for one more batch of such a collection.
    pub(super) async fn take(&self, appetite: &Appetite) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(appetite.reservation() / 1024).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        Arc::clone(&self.0).acquire_many_owned(kib).await.ok()
    }
}

impl Appetite {
    pub(super) fn saw(&mut self, batch: usize, largest_document: usize) {
        self.largest_batch = self.largest_batch.max(batch);
        self.largest_document = self.largest_document.max(largest_document);
    }

    /// Twice what it had at most, so that batches may grow.
    fn reservation(&self) -> usize {
        match self.largest_batch {
            0 => LARGEST_ANSWER,
            _ if self.largest_document > LARGE_DOCUMENT => BUDGET,
            largest => (largest * 2).clamp(MIB, LARGEST_ANSWER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_or_large_leaves_little_for_others() {
        let mut appetite = Appetite::default();
        assert_eq!(appetite.reservation(), LARGEST_ANSWER);
        appetite.saw(10, 10);
        assert_eq!(appetite.reservation(), MIB);
        appetite.saw(3 * MIB, MIB);
        assert_eq!(appetite.reservation(), 6 * MIB);
        appetite.saw(5 * MIB, 5 * MIB);
        appetite.saw(1, 1);
        assert_eq!(appetite.reservation(), BUDGET);
    }

    #[tokio::test]
    async fn a_large_one_is_alone() {
        let (budget, mut large, mut small) = (Budget::new(), Appetite::default(), Appetite::default());
        large.saw(5 * MIB, 5 * MIB);
        small.saw(10, 10);
        let held = budget.take(&small).await;
        let waits = tokio_util::task::AbortOnDropHandle::new(tokio::spawn({
            let budget = budget.clone();
            async move { budget.take(&large).await.is_some() }
        }));
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(held);
        assert!(waits.await.unwrap());
    }
}
