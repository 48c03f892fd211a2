//! Waiting for a condition.

use std::time::Duration;

use tokio::time::Instant;

/// How long a test waits for what should take a moment; generous, because machines are shared.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Looks until `look` finds something; panics with `what` when [`PATIENCE`] is over.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl FnMut() -> F) -> T {
    within(PATIENCE, what, look).await
}

/// As [`until`], with a time of the caller's: for promises that name one.
pub async fn within<T, F: Future<Output = Option<T>>>(time: Duration, what: &str, mut look: impl FnMut() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < time, "not within {time:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
