//! A copy's bytes into the restore tool, and what it means when they do not get there.

use std::sync::Arc;

use shared::failpoint;
use tokio::{io::AsyncWrite, process::ChildStdin};

use super::{Attempt, Job, JobError, Source};
use crate::{
    engine::Restore,
    store::{ByteStream, Store},
    stream::{self, Restored, StreamError},
};

/// Opens the dump in a store.
pub(super) async fn open(job: &Job, source: &Source, store: &dyn Store) -> Result<ByteStream, Attempt> {
    store.read(&source.object.key, &job.lease.cancel).await.map_err(|error| Attempt::Copy(error.into()))
}

/// Feeds the tool from `stored`, the dump in `store`, and waits for its verdict.
pub(super) async fn pour(
    job: &Job,
    source: &Source,
    store: &dyn Store,
    stored: ByteStream,
    restore: Restore,
) -> Result<Restored, Attempt> {
    pour_through(job, source, store, stored, restore, |writer| writer).await
}

/// As [`pour`], with something between the bytes and the tool.
pub(super) async fn pour_through<W: AsyncWrite + Unpin + Send>(
    job: &Job,
    source: &Source,
    store: &dyn Store,
    stored: ByteStream,
    mut restore: Restore,
    through: impl FnOnce(ChildStdin) -> W + Send,
) -> Result<Restored, Attempt> {
    let Some(writer) = restore.writer() else {
        return Err(JobError::abort("internal", "the restore tool has no input", "Report this.").into());
    };
    failpoint!("restore.tool.started");
    let writer = through(writer);
    let (progress, watched) = job.watch(Some(source.object.raw_bytes));
    let cancel = &job.lease.cancel;
    let streamed = stream::restore(stored, source.expected, writer, progress, cancel).await;
    drop(watched);
    match streamed {
        Ok(restored) => {
            restore.finish().await?;
            failpoint!("restore.tool.ended");
            Ok(restored)
        }
        // The tool stopped reading: it says why. But what it could not make sense of may be damage, which another copy
        // does not have: the bytes are asked first, whatever the tool says.
        Err(error @ StreamError::Sink { .. }) => {
            let verdict = restore.finish().await.err().map_or_else(|| error.into(), Attempt::from);
            if job.is_committing() {
                return Err(verdict);
            }
            let again = open(job, source, store).await?;
            Err(match stream::verify(again, source.expected, Arc::default(), cancel).await {
                Err(damage @ (StreamError::Corrupt { .. } | StreamError::Store(_))) => Attempt::Copy(damage.into()),
                Ok(_) | Err(_) => verdict,
            })
        }
        Err(error) => {
            restore.stop().await?;
            let other_copy_may_help = matches!(error, StreamError::Corrupt { .. } | StreamError::Store(_));
            Err(if other_copy_may_help { Attempt::Copy(error.into()) } else { error.into() })
        }
    }
}
