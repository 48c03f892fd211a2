//! A running restore: a writer for the bytes, and the tool's verdict.
//!
//! End of file is what makes `pg_restore` commit, and it commits before it when it has all it needs: the caller holds the
//! last block back until length and digest of the save have matched, and calls [`Restore::stop`] when they have not.

use tokio::process::ChildStdin;

use super::{
    dump::{failure, lost},
    error::{EngineError, ErrorCode},
    process::{Pipes, Process},
};

/// A restore whose tool runs.
#[derive(Debug)]
pub struct Restore {
    process: Process,
    writer: Option<ChildStdin>,
    drained: tokio::task::JoinHandle<()>,
    tool: &'static str,
    classify: fn(&str) -> Option<ErrorCode>,
}

impl Restore {
    pub(crate) fn of_process(
        (process, pipes): (Process, Pipes),
        tool: &'static str,
        classify: fn(&str) -> Option<ErrorCode>,
    ) -> Self {
        let mut stdout = pipes.stdout;
        // A restore straight into a database prints nothing; what it prints all the same must not stop it.
        let drained = tokio::spawn(async move {
            drop(tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await);
        });
        Self { process, writer: pipes.stdin, drained, tool, classify }
    }

    /// The process id of the tool, for logs.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Where the save's bytes go; None when it was taken before. A broken pipe means that the tool gave up: drop the
    /// writer and ask [`Restore::finish`] why.
    pub fn writer(&mut self) -> Option<ChildStdin> {
        self.writer.take()
    }

    /// Waits for the tool's verdict, after the writer was dropped. Only `Ok` means that the restore is committed.
    pub async fn finish(mut self) -> Result<(), EngineError> {
        drop(self.writer.take());
        let ended = self.process.ended().await.map_err(|error| lost(self.tool, error))?;
        self.drained.abort();
        if ended.is_success() { Ok(()) } else { Err(failure(self.tool, ended, self.classify)) }
    }

    /// Ends the tool, and with its session the transaction. Call it while the writer still lives.
    pub async fn stop(mut self) -> Result<(), EngineError> {
        let writer = self.writer.take();
        let ended = self.process.stop().await.map(drop).map_err(|error| lost(self.tool, error));
        drop(writer);
        self.drained.abort();
        ended
    }
}
