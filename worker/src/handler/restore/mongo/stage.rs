//! The save in collections of its own, under names of its own: whole, compared, indexed, and not yet where anybody looks for it.

use std::sync::Arc;

use shared::{failpoint, job::Compare, name::Slug, server::MongoMode};

use super::{
    super::{super::heads, pour},
    Attempt, JobError, Restoring,
};
use crate::{
    engine::{
        EngineError,
        mongodb::{
            archive::ArchiveError,
            restore::{LoadError, Loaded, Loader, compare::compare, index, survey::drop_staged},
            tools::restore::{Databases, pass},
        },
    },
    record::reading::SavedCopy,
    stream::{self, Restored, StreamError},
};

/// Between the stream and the reader of the archive.
const PIPE: usize = 1 << 20;

/// Collections that wait for their names.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) loaded: Loaded,
    /// What wrote the documents: Holdfast, or the tool and its version.
    pub(super) by: String,
    pub(super) restored: Restored,
    pub(super) store: Slug,
    pub(super) damaged: Vec<serde_json::Value>,
}

/// Restores beside what is there, from the first good copy.
pub(super) async fn stage(restoring: &Restoring<'_>) -> Result<Staged, JobError> {
    let mut tries = restoring.source.tries()?;
    let (loaded, restored, by) = loop {
        match once(restoring, tries.copy()).await {
            Ok(staged) => break staged,
            Err(attempt) => {
                discard(restoring).await;
                tries.failed(attempt)?;
            }
        }
    };
    let (store, damaged) = tries.succeeded();
    Ok(Staged { loaded, by, restored, store, damaged })
}

/// Drops what this attempt and those before it have staged; whoever was thought dead and wakes up leaves his successor's alone.
/// What is left all the same tells its job by its name.
pub(super) async fn discard(restoring: &Restoring<'_>) {
    let Restoring { job, place, .. } = restoring;
    let fence = job.lease.fence;
    if let Err(error) = drop_staged(&place.database, fence.job.0, Some(fence.epoch + 1)).await {
        tracing::error!(database = place.database.name(), error = %shared::telemetry::Causes(&error), "the collections of a failed restore could not be dropped");
    }
}

async fn once(restoring: &Restoring<'_>, copy: &SavedCopy) -> Result<(Loaded, Restored, String), Attempt> {
    let Restoring { job, payload, place, .. } = restoring;
    job.phase("restoring").await?;
    let (mut loaded, restored, by) = match tool(restoring, copy).await? {
        Choice::Tool { loaded, version } => {
            let (loaded, restored) = pour_through_tool(restoring, copy, loaded).await?;
            (loaded, restored, format!("mongorestore {version}"))
        }
        Choice::Native { why_not } => {
            let (mut loaded, restored) = pour_into(restoring, copy).await?;
            let warning =
                |why| format!("the target asks for the MongoDB tools, and Holdfast restored it itself: {why}");
            loaded.warnings.extend(why_not.map(warning));
            (loaded, restored, "holdfast".to_owned())
        }
    };
    if payload.compare != Compare::Off {
        job.phase("comparing").await?;
        let by_digest = payload.compare == Compare::Digest;
        loaded.warnings.extend(unless_stopped(restoring, compare(&place.database, &loaded, by_digest)).await?);
    }
    job.phase("indexing").await?;
    unless_stopped(restoring, index::build(&place.database, &loaded)).await?;
    failpoint!("mongo.staged");
    Ok((loaded, restored, by))
}

/// What is to write the documents.
enum Choice {
    Tool {
        /// What the archive announces, under the names under which it is to wait.
        loaded: Loaded,
        version: String,
    },
    Native {
        /// Where the target asks for the tool.
        why_not: Option<String>,
    },
}

/// The tool, where the target asks for it, the worker has it and it can be told what to do.
async fn tool(restoring: &Restoring<'_>, copy: &SavedCopy) -> Result<Choice, Attempt> {
    let Restoring { job, place, chosen, .. } = restoring;
    if place.at.mongodb.mode != MongoMode::Tools {
        return Ok(Choice::Native { why_not: None });
    }
    let prelude = match heads::prelude(job, std::slice::from_ref(copy)).await {
        Ok(prelude) => prelude,
        Err(JobError::Stopped) => return Err(JobError::Stopped.into()),
        // A whole reading says better what is wrong with the copy.
        Err(_) => return Ok(Choice::Native { why_not: Some("the head of the archive could not be read".to_owned()) }),
    };
    let loaded = Loader::would(&place.database, place.at.session, chosen.clone(), &prelude)?;
    Ok(match job.ctx.mongodb.restoring_tool(databases(restoring), &loaded) {
        Ok(version) => Choice::Tool { loaded, version },
        Err(why) => Choice::Native { why_not: Some(why) },
    })
}

fn databases<'a>(restoring: &'a Restoring<'_>) -> Databases<'a> {
    Databases { from: &restoring.chosen.database, to: restoring.place.database.name() }
}

async fn pour_through_tool(
    restoring: &Restoring<'_>,
    copy: &SavedCopy,
    mut loaded: Loaded,
) -> Result<(Loaded, Restored), Attempt> {
    let Restoring { job, place, chosen, .. } = restoring;
    let cancel = &job.lease.cancel;
    let stored = pour::open(job, copy).await?;
    let expected = copy.expected().map_err(Attempt::Copy)?;
    let mut tool = job.ctx.mongodb.tool_restore(&place.at, databases(restoring), &loaded, cancel).await?;
    let Some(stdin) = tool.writer() else {
        return Err(JobError::abort("internal", "the tool's input was taken twice", "Report this.").into());
    };
    let (writer, reader) = tokio::io::duplex(PIPE);
    let (progress, watched) = job.watch(Some(expected.raw_bytes));
    let streaming = stream::restore(stored, &expected, copy.decryption(), writer, progress, cancel);
    let passing = pass(reader, stdin, &chosen.database, &mut loaded);
    let (streamed, passed) = tokio::join!(streaming, passing);
    drop(watched);
    let verdict = match (streamed, passed) {
        (Ok(restored), Ok(())) => {
            tool.finish().await?;
            return Ok((loaded, restored));
        }
        (streamed, passed) => {
            tool.stop().await?;
            (streamed, passed)
        }
    };
    Err(match verdict {
        (Err(StreamError::Cancelled), _) => JobError::Stopped.into(),
        (Err(error), _) if error.is_of_the_copy() => Attempt::Copy(error.into()),
        (_, Err(LoadError::Archive(error))) => Attempt::Job(broken(&error)),
        (_, Err(LoadError::Engine(error))) => error.into(),
        (Err(error), Ok(())) => error.into(),
        (Ok(_), Ok(())) => JobError::abort("internal", "a restore was good and is not", "Report this.").into(),
    })
}

async fn pour_into(restoring: &Restoring<'_>, copy: &SavedCopy) -> Result<(Loaded, Restored), Attempt> {
    let Restoring { job, place, chosen, .. } = restoring;
    let cancel = &job.lease.cancel;
    let stored = pour::open(job, copy).await?;
    let expected = copy.expected().map_err(Attempt::Copy)?;
    let (writer, reader) = tokio::io::duplex(PIPE);
    let mut loader = Loader::new(place.database.clone(), place.at.session, chosen.clone());
    let (progress, watched) = job.watch(Some(expected.raw_bytes));
    let streaming = stream::restore(stored, &expected, copy.decryption(), writer, progress, cancel);
    let loading = async {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EngineError::cancelled().into()),
            done = loader.run(reader) => done,
        }
    };
    let (streamed, outcome) = tokio::join!(streaming, loading);
    drop(watched);
    if outcome.is_err() || streamed.is_err() {
        loader.settle().await;
    }
    let verdict = match (streamed, outcome) {
        (Ok(restored), Ok(done)) => return Ok((done, restored)),
        (Err(StreamError::Cancelled), _) => return Err(JobError::Stopped.into()),
        // The stream ended before its time, and the archive with it: what the stream says is why.
        (Err(error), _) if error.is_of_the_copy() => return Err(Attempt::Copy(error.into())),
        (Err(StreamError::Sink { .. }) | Ok(_), Err(verdict)) => verdict,
        (Err(error), _) => return Err(error.into()),
    };
    // What cannot be made sense of may be damage, which another copy does not have: the bytes are asked first.
    let is_permanent = match &verdict {
        LoadError::Archive(error) => error.is_permanent(),
        LoadError::Engine(error) => error.is_permanent() && error.code() != crate::engine::ErrorCode::Cancelled,
    };
    if is_permanent {
        let again = pour::open(job, copy).await?;
        match stream::verify(again, &expected, copy.decryption(), Arc::default(), cancel).await {
            Err(damage) if damage.is_of_the_copy() => return Err(Attempt::Copy(damage.into())),
            Err(StreamError::Cancelled) => return Err(JobError::Stopped.into()),
            Ok(_) | Err(_) => {}
        }
    }
    Err(Attempt::Job(match verdict {
        LoadError::Engine(error) => error.into(),
        LoadError::Archive(error) => broken(&error),
    }))
}

fn broken(error: &ArchiveError) -> JobError {
    let hint = "Choose another save: this one is stored as it was made, and was not made well.";
    JobError::abort("archive_broken", super::super::super::chain(error), hint)
}

async fn unless_stopped<T>(
    restoring: &Restoring<'_>,
    work: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, Attempt> {
    tokio::select! {
        biased;
        () = restoring.job.lease.cancel.cancelled() => Err(JobError::Stopped.into()),
        done = work => Ok(done?),
    }
}
