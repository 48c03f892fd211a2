//! Going down in two steps (conventions 24): soft, stop taking work; hard, let go of what runs.
//! The first SIGTERM or SIGINT is soft; a second, or the grace period's end, is hard.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The two tokens and the tasks to wait for. Clones share them. Hard implies soft.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when no new work may begin.
    #[must_use]
    pub fn soft(&self) -> &CancellationToken {
        &self.soft
    }

    /// Cancelled when running work must let go.
    #[must_use]
    pub fn hard(&self) -> &CancellationToken {
        &self.hard
    }

    /// Where every task is spawned that [`Shutdown::finished`] waits for.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// What a signal does: the first call is soft, the second hard. Tests call it instead of sending signals.
    pub fn request(&self) {
        if self.soft.is_cancelled() {
            self.hard.cancel();
        }
        self.soft.cancel();
    }

    /// Turns signals into requests for as long as the process lives. Call it within a runtime, once, early.
    pub fn listen(&self) -> io::Result<()> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        // Not tracked: it never ends by itself, and nothing waits for it.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(()) = term.recv() => {}
                    Some(()) = int.recv() => {}
                    else => return,
                }
                let at_once = shutdown.soft.is_cancelled();
                tracing::info!(at_once, "stopping");
                shutdown.request();
            }
        });
        Ok(())
    }

    /// Waits for the soft request, then for all tasks; after `grace` it goes hard, and still waits for them.
    pub async fn finished(&self, grace: Duration) {
        self.soft.cancelled().await;
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.hard.cancel();
            self.tasks.wait().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_second_request_is_hard() {
        let shutdown = Shutdown::new();
        shutdown.request();
        assert!(shutdown.soft().is_cancelled() && !shutdown.hard().is_cancelled());
        shutdown.request();
        assert!(shutdown.hard().is_cancelled());
    }

    #[tokio::test]
    async fn the_end_of_grace_is_hard_and_tasks_are_waited_for() {
        let shutdown = Shutdown::new();
        let hard = shutdown.hard().clone();
        let task = shutdown.tasks().spawn(async move { hard.cancelled().await });
        shutdown.request();
        shutdown.finished(Duration::from_millis(20)).await;
        assert!(task.is_finished());
    }
}
