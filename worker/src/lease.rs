//! Keeping a claimed job: the beat, on a task and a pool of its own so that nothing else can starve it, and why it stopped.
//!
//! The beat is strict: when PostgreSQL does not answer, work goes on only until shortly before the lease can run out by
//! our own monotonic clock (guarantees B7). Then another worker may own the job, and this one must be silent.

use std::{sync::OnceLock, time::Duration};

use shared::db::claim::{self, Beat, Fence};
use sqlx::PgPool;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Why the work of an attempt was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody else owns the job, or may own it: write nothing more.
    Lost,
    /// An admin asked for it.
    Cancelled,
    /// No byte moved for the stall time.
    Stalled(Duration),
    /// The job ran longer than it may.
    Deadline(Duration),
    /// The worker goes down and its grace period is over.
    Shutdown,
}

/// A running attempt's right to work: the fence for its writes, the token that ends it, and the reason once it did.
#[derive(Debug)]
pub struct Lease {
    pub fence: Fence,
    pub cancel: CancellationToken,
    why: OnceLock<Stop>,
}

/// How often and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    pub lease: Duration,
    pub beat: Duration,
}

impl Rhythm {
    /// Work stops this long before the lease can run out.
    fn margin(self) -> Duration {
        self.lease / 6
    }
}

impl Lease {
    pub fn new(fence: Fence) -> Self {
        Self { fence, cancel: CancellationToken::new(), why: OnceLock::new() }
    }

    /// Ends the work for this reason; the first reason stays.
    pub fn stop(&self, why: Stop) {
        if self.why.set(why).is_ok() {
            tracing::info!(job.id = %self.fence.job, job.epoch = self.fence.epoch, reason = ?why, "stopping the job");
        }
        self.cancel.cancel();
    }

    /// Why it was stopped, if it was.
    pub fn stopped(&self) -> Option<Stop> {
        self.why.get().copied()
    }

    /// Beats until the work is stopped or the future is dropped. `claimed` is an instant before the claim was sent.
    pub async fn keep(&self, pool: &PgPool, rhythm: Rhythm, claimed: Instant) {
        let mut until = claimed + rhythm.lease - rhythm.margin();
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return,
                () = tokio::time::sleep_until((Instant::now() + rhythm.beat).min(until)) => {}
            }
            let sent = Instant::now();
            let beat = async {
                let mut conn = pool.acquire().await?;
                claim::beat(&mut conn, self.fence, rhythm.lease).await
            };
            match timeout_at(until.max(sent), beat).await {
                Ok(Ok(Beat::Kept)) => until = sent + rhythm.lease - rhythm.margin(),
                Ok(Ok(Beat::CancelRequested)) => return self.stop(Stop::Cancelled),
                Ok(Err(error)) if Instant::now() < until => {
                    tracing::warn!(job.id = %self.fence.job, error = %shared::telemetry::Causes(&error), "the beat failed and is tried again");
                    // A refused connection answers at once: no hot loop against a server that restarts.
                    tokio::time::sleep_until((Instant::now() + rhythm.beat / 5).min(until)).await;
                }
                Ok(Ok(Beat::Lost) | Err(_)) | Err(_) => return self.stop(Stop::Lost),
            }
        }
    }
}
