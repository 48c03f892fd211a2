//! The last stage: each copy takes the stored blocks for itself, and may be lost without the others as long as enough live.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use shared::name::Slug;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use super::CopyResult;
use crate::store::Upload;
use crate::stream::progress::Watch;
use crate::stream::{StageTime, StreamError};

/// How long cleaning up after a failure may take; what is left then is gc's.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// How one copy went.
pub(super) struct Copied {
    pub(super) at: usize,
    pub(super) result: CopyResult,
    pub(super) time: StageTime,
}

/// Counts the copies that are left, and stops the stream when they are too few.
#[derive(Clone)]
pub(super) struct Fan {
    alive: Arc<AtomicUsize>,
    required: usize,
    stop: CancellationToken,
}

impl Fan {
    pub(super) fn new(copies: usize, required: usize, stop: CancellationToken) -> Self {
        Self { alive: Arc::new(AtomicUsize::new(copies)), required, stop }
    }

    pub(super) async fn copy(
        self,
        at: usize,
        name: Slug,
        mut upload: Box<dyn Upload>,
        mut input: Receiver<Bytes>,
    ) -> Copied {
        let mut watch = Watch::start(format!("copy:{name}"));
        let work = async {
            while let Some(block) = input.recv().await {
                watch.was_waiting();
                upload.write(block).await?;
                watch.was_busy();
            }
            watch.was_waiting();
            Ok(())
        };
        let written = tokio::select! {
            biased;
            // The bytes end where they are; `dump` aborts the upload and says why.
            () = self.stop.cancelled() => Ok(()),
            written = work => written,
        };
        drop(input);
        let result = match written {
            Ok(()) => Ok(upload),
            Err(error) => {
                if self.alive.fetch_sub(1, Ordering::SeqCst) <= self.required {
                    self.stop.cancel();
                }
                abort(&name, upload).await;
                Err(error)
            }
        };
        Copied { at, result, time: watch.time() }
    }

    /// An error if too few copies are left, with the cause of the last one lost.
    pub(super) fn judge(&self, names: &[Slug], ended: &mut Vec<Copied>) -> Result<(), StreamError> {
        let good = ended.iter().filter(|copy| copy.result.is_ok()).count();
        if good >= self.required {
            return Ok(());
        }
        let Some(lost) = ended.iter().position(|copy| copy.result.is_err()).map(|at| ended.remove(at)) else {
            return Err(StreamError::TooFewCopies { required: self.required, given: good });
        };
        let store = names.get(lost.at).map(ToString::to_string).unwrap_or_default();
        match lost.result {
            Err(source) => Err(StreamError::Copies { required: self.required, good, store, source }),
            Ok(_) => Ok(()),
        }
    }
}

pub(super) async fn abort_all(ended: Vec<Copied>) {
    for copy in ended {
        if let Ok(upload) = copy.result {
            let (_, store) = copy.time.name.split_once(':').unwrap_or_default();
            abort(store, upload).await;
        }
    }
}

async fn abort(store: impl fmt::Display, upload: Box<dyn Upload>) {
    match tokio::time::timeout(ABORT_TIMEOUT, upload.abort()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%store, error = &error as &dyn std::error::Error, "aborting an upload failed, gc will remove it");
        }
        Err(_) => tracing::warn!(%store, "aborting an upload took too long, gc will remove it"),
    }
}
