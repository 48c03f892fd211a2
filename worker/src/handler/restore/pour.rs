//! A copy's bytes into the restore tool, and what it means when they do not get there.

use std::sync::Arc;

use shared::failpoint;
use tokio::{io::AsyncWrite, process::ChildStdin};

use super::{Attempt, Job, JobError};
use crate::{
    engine::Restore,
    record::reading::SavedCopy,
    stream::{self, Objects, Restored, StreamError},
};

/// Opens the dump of a copy.
pub(super) async fn open(job: &Job, copy: &SavedCopy) -> Result<Objects, Attempt> {
    copy.open(&job.lease.cancel).await.map_err(Attempt::Copy)
}

/// Feeds the tool from `stored`, the dump of `copy`, and waits for its verdict.
pub(super) async fn pour(job: &Job, copy: &SavedCopy, stored: Objects, restore: Restore) -> Result<Restored, Attempt> {
    pour_through(job, copy, stored, restore, |writer| writer).await
}

/// As [`pour`], with something between the bytes and the tool.
pub(super) async fn pour_through<W: AsyncWrite + Unpin + Send>(
    job: &Job,
    copy: &SavedCopy,
    stored: Objects,
    mut restore: Restore,
    through: impl FnOnce(ChildStdin) -> W + Send,
) -> Result<Restored, Attempt> {
    let Some(writer) = restore.writer() else {
        return Err(JobError::abort("internal", "the restore tool has no input", "Report this.").into());
    };
    failpoint!("restore.tool.started");
    let writer = through(writer);
    let expected = copy.expected().map_err(Attempt::Copy)?;
    let (progress, watched) = job.watch(Some(expected.raw_bytes));
    let cancel = &job.lease.cancel;
    let streamed = stream::restore(stored, &expected, copy.decryption(), writer, progress, cancel).await;
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
            let again = open(job, copy).await?;
            Err(match stream::verify(again, &expected, copy.decryption(), Arc::default(), cancel).await {
                Err(damage) if damage.is_of_the_copy() => Attempt::Copy(damage.into()),
                Ok(_) | Err(_) => verdict,
            })
        }
        Err(error) => {
            restore.stop().await?;
            Err(if error.is_of_the_copy() { Attempt::Copy(error.into()) } else { error.into() })
        }
    }
}
