//! What the head of a dump says that it holds, from the first copy whose head can be read. Whether the bytes are good, only a
//! whole reading tells.

use std::io::{self, Write as _};

use super::{Job, JobError};
use crate::{
    engine::{
        mongodb::archive::{Parser, Prelude},
        postgres::{Contents, Reading},
    },
    record::reading::SavedCopy,
    stream::{self, StreamError},
};

/// Raw bytes within which an archive of `MongoDB` has announced its collections.
const PRELUDE_BYTES: u64 = 64 << 20;

/// The list of contents of a dump of `PostgreSQL`.
pub(super) async fn contents(job: &Job, copies: &[SavedCopy]) -> Result<Contents, JobError> {
    let begin = || {
        let mut reading = Reading::begin()?;
        Ok::<_, io::Error>(move |bytes: &[u8]| reading.feed(bytes))
    };
    first(job, copies, begin).await
}

/// What an archive of `MongoDB` announces.
pub(super) async fn prelude(job: &Job, copies: &[SavedCopy]) -> Result<Prelude, JobError> {
    let begin = || {
        let mut unzstd = zstd::stream::write::Decoder::new(Vec::new())?;
        let (mut parser, mut read) = (Parser::default(), 0);
        Ok::<_, io::Error>(move |bytes: &[u8]| -> io::Result<Option<Prelude>> {
            // Little by little: a whole block may expand to much.
            for piece in bytes.chunks(64 << 10) {
                unzstd.write_all(piece)?;
                unzstd.flush()?;
                let raw = std::mem::take(unzstd.get_mut());
                read += raw.len() as u64;
                parser.feed(&raw, &mut |_, _| ()).map_err(io::Error::other)?;
                if let Some(prelude) = parser.prelude() {
                    return Ok(Some(prelude.clone()));
                }
                if read > PRELUDE_BYTES {
                    return Err(io::Error::other("it does not announce its collections where it should"));
                }
            }
            Ok(None)
        })
    };
    first(job, copies, begin).await
}

/// Tries copy after copy, each with a reader of its own, which takes the packed bytes until it has seen enough.
async fn first<T, R>(job: &Job, copies: &[SavedCopy], begin: impl Fn() -> io::Result<R>) -> Result<T, JobError>
where
    R: FnMut(&[u8]) -> io::Result<Option<T>>,
{
    let mut failed = unreadable("there is no copy");
    for copy in copies {
        let reader = begin().map_err(|error| unreadable(&error.to_string()))?;
        match head(job, copy, reader).await {
            Ok(found) => return Ok(found),
            Err(JobError::Stopped) => return Err(JobError::Stopped),
            Err(error) => {
                tracing::warn!(store = %copy.name, error = %shared::telemetry::Causes(&error), "the head of this copy cannot be read");
                failed = error;
            }
        }
    }
    Err(failed)
}

async fn head<T>(
    job: &Job,
    copy: &SavedCopy,
    mut reader: impl FnMut(&[u8]) -> io::Result<Option<T>>,
) -> Result<T, JobError> {
    let stored = copy.open(&job.lease.cancel).await?;
    let mut found = None;
    let look = |bytes: &[u8]| {
        found = reader(bytes)?;
        Ok(found.is_some())
    };
    match stream::glance(stored, copy.decryption(), look).await {
        Err(StreamError::Sink { source, .. }) => return Err(unreadable(&source.to_string())),
        other => other?,
    };
    found.ok_or_else(|| unreadable("it ends before its contents"))
}

fn unreadable(why: &str) -> JobError {
    JobError::abort("contents_unknown", why, "Look at the store.")
}
