//! How fast a source is read at most: a token bucket, so that a dump leaves the network and the database to others.

use std::time::Duration;

use tokio::time::Instant;

/// Fills evenly, holds a tenth of a second's worth, and starts empty. It is waited for where the stream is: a stream that is
/// cancelled stops in it.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_s: u64,
    /// When all that was read will have been paid for.
    paid_at: Instant,
}

/// How much may come at once.
const BURST: Duration = Duration::from_millis(100);

impl Pace {
    /// So many bytes per second; at least one.
    pub(super) fn new(bytes_per_s: u64) -> Self {
        Self { bytes_per_s: bytes_per_s.max(1), paid_at: Instant::now() }
    }

    /// The most bytes to read at once.
    pub(super) fn most(&self) -> usize {
        usize::try_from(self.bytes_per_s / 10).unwrap_or(usize::MAX).max(1)
    }

    /// Until when to wait for these bytes, which came at this instant. What was not read in time is not made up for.
    pub(super) fn spend(&mut self, now: Instant, bytes: usize) -> Instant {
        let cost = Duration::try_from_secs_f64(precise(bytes as u64) / precise(self.bytes_per_s));
        let from = self.paid_at.max(now.checked_sub(BURST).unwrap_or(now));
        self.paid_at = from + cost.unwrap_or(BURST);
        self.paid_at
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates and block sizes, far below 2^52")]
fn precise(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::{
        super::{BlockPool, Progress, StreamError, dump::read},
        *,
    };

    /// Bytes that pass in each of so many seconds of a clock of the test's own, the source giving whatever is asked for;
    /// `idle` seconds go by before.
    fn passed(bytes_per_s: u64, idle: u64, seconds: usize) -> Vec<u64> {
        let mut pace = Pace::new(bytes_per_s);
        let first = pace.paid_at;
        let began = pace.spend(first, pace.most()).max(first) + Duration::from_secs(idle);
        let mut now = began;
        let mut passed = vec![0; seconds];
        loop {
            let n = pace.most().min(1 << 20);
            let second = (now - began).as_nanos() / Duration::from_secs(1).as_nanos();
            let Some(second) = passed.get_mut(usize::try_from(second).unwrap()) else { return passed };
            *second += n as u64;
            now = now.max(pace.spend(now, n));
        }
    }

    #[test]
    fn no_second_has_more_than_it_may_and_none_is_wasted() {
        for rate in [1, 100, 64 << 10, 10 << 20, 1 << 30] {
            for (second, bytes) in passed(rate, 0, 5).into_iter().enumerate() {
                assert!(bytes <= rate + rate / 5 + 1, "{bytes} bytes in second {second} at {rate}");
                assert!(bytes >= rate - rate / 5, "only {bytes} bytes in second {second} at {rate}");
            }
        }
    }

    #[test]
    fn what_was_not_used_is_gone() {
        let first = passed(1 << 20, 3600, 1)[0];
        assert!(first <= 2 << 20, "{first} bytes at once after an hour of nothing");
    }

    #[tokio::test]
    async fn a_stream_that_waits_for_its_pace_reads_no_more_and_stops_when_it_is_told() {
        let (progress, stop) = (Progress::default(), CancellationToken::new());
        let (sender, mut receiver) = mpsc::channel(4);
        // A byte an hour, more or less: it never gets to the second.
        let pace = Pace { bytes_per_s: 1, paid_at: Instant::now() + Duration::from_hours(1) };
        let reading = read(tokio::io::repeat(7), BlockPool::new(4), sender, (None, Some(pace)), &progress, &stop);
        let stopping = async {
            while progress.raw_bytes() == 0 {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        };
        let draining = async { while receiver.recv().await.is_some() {} };
        let (ended, (), ()) = tokio::join!(reading, stopping, draining);
        assert!(matches!(ended, Err(StreamError::Cancelled)), "{ended:?}");
        assert_eq!(progress.raw_bytes(), 1);
    }
}
