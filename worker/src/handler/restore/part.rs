//! A part of a save (design §8): some tables, the structure or the rows alone. The whole copy is read and checked before a
//! tool starts; the list for the tool comes from what was read. On the second reading the tool gets all but the last byte
//! that it needs until the whole has been checked again, so that nothing is committed of a copy that is not what was saved.

use std::sync::{Mutex, PoisonError};

use serde_json::json;
use shared::{
    job::{ExtensionPolicy, Journal, Step},
    save::Mode,
};

use super::{Attempt, Done, JobError, Restoring, pour, safety, stage};
use crate::{
    engine::{
        Creation,
        postgres::{
            Postgres,
            archive::toc::{Listing, Toc, TocError},
            parts::{Half, Part, Wanted, gate::Gate},
        },
    },
    record::reading::SavedCopy,
    stream::{self, Restored},
};

/// Whether only this way of restoring gives what is asked for.
pub(super) fn is_wanted(restoring: &Restoring<'_>) -> bool {
    !restoring.payload.part.is_whole()
}

/// Restores from the first copy that proves good.
pub(super) async fn run(restoring: &Restoring<'_>) -> Result<Done, JobError> {
    let Restoring { payload, source, .. } = restoring;
    let wanted = Wanted {
        tables: payload.part.tables.iter().map(|t| (t.schema.to_string(), t.table.to_string())).collect(),
        half: match payload.part.mode {
            Mode::All => Half::Both,
            Mode::Schema => Half::Structure,
            Mode::Data => Half::Rows,
        },
        skip_extensions: payload.part.extensions == ExtensionPolicy::Skip,
    };
    if source.manifest.mode == Mode::Data && wanted.half != Half::Rows {
        let message = "the save holds rows without their tables";
        return Err(JobError::abort(
            "save_without_schema",
            message,
            "Restore it with mode data into tables that exist.",
        ));
    }
    if source.manifest.mode == Mode::Schema && wanted.half == Half::Rows {
        return Err(JobError::abort("save_without_rows", "the save holds no rows", "Choose a save of mode all."));
    }
    if let Some(save) = payload.safety_save_id {
        safety::save(restoring.job, payload.target_id, save, safety::ADVICE).await?;
    }
    let mut tries = source.tries()?;
    let done = loop {
        let attempt = if payload.in_place {
            into_existing(restoring, &wanted, tries.copy()).await.map(Some)
        } else {
            into_new(restoring, &wanted, tries.copy()).await
        };
        match attempt {
            Ok(done) => break done,
            Err(attempt) => tries.failed(attempt)?,
        }
    };
    let Some((restored, part, warnings)) = done else { return Ok(super::new::adopted(restoring)) };
    let (store, damaged) = tries.succeeded();
    let Restored { raw_bytes, stored_bytes, stages, bottleneck } = restored;
    Ok(Done::Plain(json!({
        "database": payload.database, "save_id": source.manifest.save, "store": store, "raw_bytes": raw_bytes,
        "stored_bytes": stored_bytes, "stages": stages, "bottleneck": bottleneck, "warnings": warnings,
        "damaged_copies": damaged, "restored_entries": part.list.len(),
    })))
}

/// Reads the whole copy, and what it says that it holds.
pub(super) async fn contents(restoring: &Restoring<'_>, copy: &SavedCopy) -> Result<Toc, Attempt> {
    let job = restoring.job;
    job.phase("checking").await?;
    let stored = pour::open(job, copy).await?;
    let expected = copy.expected().map_err(Attempt::Copy)?;
    let (progress, watched) = job.watch(Some(expected.raw_bytes));
    let mut archive = Reader(Listing::default());
    let decryption = copy.decryption();
    let read = stream::restore(stored, &expected, decryption, &mut archive, progress, &job.lease.cancel).await;
    drop(watched);
    read.map_err(|error| if error.is_of_the_copy() { Attempt::Copy(error.into()) } else { error.into() })?;
    archive.0.contents().map_err(|error| {
        let code = if matches!(error, TocError::Unknown(_)) { "format_unsupported" } else { "archive_broken" };
        let hint = "Choose another save: this one is stored as it was made, and was not made well.";
        Attempt::Job(JobError::abort(code, error.to_string(), hint))
    })
}

/// What is done at the last moment in which nothing can have been committed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Release {
    /// Whoever lost the lease while the bytes were checked lets nothing be committed.
    Fenced,
    /// And what is about to be committed is written down.
    Journalled,
}

type Filled = (Restored, Part, Vec<String>);

/// Gives the tool what it needs of the copy.
pub(super) async fn fill(
    restoring: &Restoring<'_>,
    database: &shared::name::DatabaseName,
    part: &Part,
    copy: &SavedCopy,
    release: Release,
) -> Result<Restored, Attempt> {
    let Restoring { job, payload, at, source, options, .. } = restoring;
    let stored = pour::open(job, copy).await?;
    job.phase("restoring").await?;
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    let restore = engine.restore_part(at, database, part, &source.restorable(), options, cancel).await?;
    let tool = restore.process_id();
    // Why the end is not let go: the gate can only say that it is not.
    let withheld = Mutex::new(None);
    let release = async {
        job.phase("finishing").await?;
        if let Release::Journalled = release
            && part.holds_in_data
            && let Some(id) = engine.transaction_of(at, database, tool, cancel).await?
        {
            let result = json!({ "database": payload.database, "save_id": source.manifest.save,
                                 "warnings": part.warnings, "restored_entries": part.list.len() });
            let step = Step::Transaction { database: database.clone(), id };
            job.commit_point(&Journal { step, result }).await?;
        }
        Ok::<_, JobError>(())
    };
    let release = async {
        release.await.map_err(|why| {
            let error = std::io::Error::other(why.to_string());
            *withheld.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            error
        })
    };
    let through = |writer| Gate::new(writer, part, release);
    let poured = Box::pin(pour::pour_through(job, copy, stored, restore, through)).await;
    if let Some(why) = withheld.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(Attempt::Job(why));
    }
    poured.map_err(|attempt| match attempt {
        // After the journal nothing is tried again: the server is asked what became of it.
        Attempt::Job(JobError::Retry(problem)) | Attempt::Copy(JobError::Retry(problem)) if job.is_committing() => {
            Attempt::Job(JobError::unknown(problem.message))
        }
        other => other,
    })
}

async fn into_existing(restoring: &Restoring<'_>, wanted: &Wanted, copy: &SavedCopy) -> Result<Filled, Attempt> {
    let Restoring { job, payload, at, .. } = restoring;
    let toc = contents(restoring, copy).await?;
    let again = job.lease.fence.epoch > 1;
    let engine = &job.ctx.postgres;
    let part = engine.part_for_existing(at, &payload.database, &toc, wanted, again, &job.lease.cancel).await?;
    let restored = fill(restoring, &payload.database, &part, copy, Release::Journalled).await?;
    let warnings = part.warnings.clone();
    Ok((restored, part, warnings))
}

/// None: an older attempt of this job had published it.
async fn into_new(restoring: &Restoring<'_>, wanted: &Wanted, copy: &SavedCopy) -> Result<Option<Filled>, Attempt> {
    let Restoring { job, payload, at, source, options, .. } = restoring;
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    let toc = contents(restoring, copy).await?;
    let part = Postgres::part_for_new(&toc, wanted)?;
    let created = match engine.create(at, &payload.database, &source.properties, options, cancel).await? {
        Creation::New(created) => created,
        Creation::Finished => return Ok(None),
    };
    let filled = async {
        let restored = fill(restoring, created.database(), &part, copy, Release::Fenced).await?;
        job.phase("settling").await?;
        let mut warnings = part.warnings.clone();
        warnings.extend(engine.settle(at, &created, &source.properties, options, cancel).await?);
        engine.publish(at, &created, &source.properties).await?;
        Ok::<_, Attempt>((restored, warnings))
    };
    match filled.await {
        Ok((restored, warnings)) => Ok(Some((restored, part, warnings))),
        Err(error) => {
            stage::discard(restoring, created).await;
            Err(error)
        }
    }
}

/// Where an archive goes that is only read.
#[derive(Debug)]
struct Reader(Listing);

impl tokio::io::AsyncWrite for Reader {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.0.feed(bytes);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
