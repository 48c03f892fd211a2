//! Plain SQL into a new database: run by psql as it flows, under a name of its own, which it changes for the one that was asked for
//! when all of it is there (guarantees §0.1, A3, D3; ADR 34).

use serde_json::json;
use shared::{
    db::work::Purpose,
    failpoint,
    id::{KeptId, TargetId},
    job::{NewDatabase, Placed, Swap},
};
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::super::{
    Done, Job, JobError,
    exchange::{self, Exchanged},
    restore::tidy,
};
use crate::{
    engine::{
        Connection, Created, Creation, DatabaseProperties, Engine as _, Keep, RestoreOptions,
        postgres::plain::{
            Psql, Ran,
            text::{Origin, Text},
        },
    },
    transfer::upload::{PIECE, Upload, broken, stalled},
};

/// What came of the bytes.
#[derive(Debug)]
struct Filled {
    ran: Ran,
    origin: Origin,
    bytes: u64,
    /// What the sender packed it in.
    layers: Vec<&'static str>,
}

/// Runs the dump. An attempt that finds no bytes takes away what the one before it left.
pub(super) async fn run(
    job: &Job,
    upload: Option<Upload>,
    target_id: TargetId,
    wanted: &NewDatabase,
) -> Result<Done, JobError> {
    job.phase("preparing").await?;
    let work = job.target(target_id, Purpose::Restore).await?;
    let (at, _) = job.ctx.connection(&work, job.lease.fence)?;
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    let Some(upload) = upload else {
        engine.end_older_sessions(&at, &at.maintenance_database, cancel).await?;
        engine.clear(&at, &wanted.name, cancel).await?;
        return Err(super::lost());
    };
    import(job, &at, upload, wanted).await.map_err(|error| match error {
        // What may have happened is looked at.
        error if job.is_committing() => error,
        // The bytes are gone: nothing can be tried again.
        JobError::Retry(problem) => JobError::Abort(problem),
        error => error,
    })
}

async fn import(job: &Job, at: &Connection, upload: Upload, wanted: &NewDatabase) -> Result<Done, JobError> {
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    tidy(job, at).await;
    let powers = engine.powers(at, cancel).await?;
    if !powers.is_empty() && !wanted.trust {
        return Err(JobError::abort(
            "credential_too_powerful",
            format!(
                "the restore credential's role {:?} is {}: what the dump does with that on the server, nobody sees",
                at.user.as_str(),
                powers.join(", ")
            ),
            "Give the target a restore credential that may create databases and nothing more; or say trust=true, if you know whose dump it is.",
        ));
    }
    let client = engine.client_for_plain(at, cancel).await?;
    // Of the database itself a dump says nothing: it is as the server makes them.
    let properties = DatabaseProperties { connection_limit: -1, ..DatabaseProperties::default() };
    let options = RestoreOptions { owner: Keep::None, privileges: Keep::None, replaces: false };
    let created = match engine.create(at, &wanted.name, &properties, &options, cancel).await? {
        Creation::New(created) => created,
        Creation::Finished => {
            return Err(JobError::abort(
                "internal",
                "the database was taken for one of an earlier attempt",
                "Report this.",
            ));
        }
    };
    let filled = async {
        job.phase("importing").await?;
        let psql = engine.start_plain(at, &created, client, cancel).await?;
        let filled = pour(job, psql, upload).await?;
        settle(job, at, &created, filled, &powers).await
    };
    let (swap, result) = match filled.await {
        Ok(filled) => filled,
        Err(error) => {
            discard(job, at, created).await;
            return Err(error);
        }
    };
    match exchange::exchange(job, at, &swap, Some(&engine.restored_comment(at, None)), result).await {
        Ok(done) => Ok(done),
        Err(Exchanged::Not(error)) => {
            discard(job, at, created).await;
            Err(error)
        }
        Err(Exchanged::Unknown(error)) => Err(error),
    }
}

/// Looks whether what psql said is so, and makes ready to give the database its name.
async fn settle(
    job: &Job,
    at: &Connection,
    created: &Created,
    filled: Filled,
    powers: &[String],
) -> Result<(Swap, serde_json::Value), JobError> {
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    let Filled { ran, origin, bytes, layers } = filled;
    job.phase("settling").await?;
    failpoint!("import.plain.committed");
    engine.require_committed(at, created.database(), &ran).await?;
    let held = engine.held(at, created.database(), cancel).await?;
    let Some(incoming) = engine.standing(at, created.database()).await?.existing else {
        return Err(JobError::abort("target_changed", "the new database is gone", "Send the dump again."));
    };
    let warnings: Vec<String> = (!powers.is_empty())
        .then(|| format!("the dump was run by a role that is {}", powers.join(", ")))
        .into_iter()
        .collect();
    let result = json!({
        "database": created.wanted(), "raw_bytes": bytes, "packed": layers, "tables": held.tables, "rows": ran.rows,
        "database_bytes": held.bytes, "server_version": origin.server_version, "tool_version": origin.tool_version,
        "warnings": warnings,
    });
    let swap = Swap {
        database: created.wanted().clone(),
        incoming: Placed { name: created.database().clone(), oid: incoming.oid },
        outgoing: None,
        keep_id: KeptId::generate(),
        keep_old_s: 0,
        kept_id: None,
    };
    Ok((swap, result))
}

/// Why not all of the dump was said.
enum Cut {
    /// psql has ended.
    Psql,
    /// The bytes are not what they should be, or do not come.
    Job(JobError),
}

/// Feeds psql as the bytes come; it commits when all of them have, and are a whole dump.
async fn pour(job: &Job, mut psql: Psql, upload: Upload) -> Result<Filled, JobError> {
    let layers = upload.layers.iter().map(|layer| layer.as_str()).collect();
    let (progress, watched) = job.watch(None);
    let exited = psql.exited();
    let said = async {
        let (mut text, mut input, mut piece, mut bytes) = (Text::default(), upload.input, vec![0; PIECE], 0);
        let stall = job.ctx.transfer.stall;
        loop {
            let read = tokio::select! {
                biased;
                () = job.lease.cancel.cancelled() => return Err(Cut::Job(JobError::Stopped)),
                // It says why, and whoever sends hears it now.
                () = exited.cancelled() => return Err(Cut::Psql),
                read = timeout(stall, input.read(&mut piece)) => read,
            };
            let n = match read {
                Err(_) => return Err(Cut::Job(JobError::Abort(stalled(stall)))),
                Ok(Err(error)) => return Err(Cut::Job(JobError::Abort(broken(&error, bytes)))),
                Ok(Ok(0)) => break,
                Ok(Ok(n)) => n,
            };
            bytes += n as u64;
            let fit = text.feed(&piece[..n]).map_err(|fault| Cut::Job(damaged(&fault)))?;
            let written = tokio::select! {
                biased;
                () = job.lease.cancel.cancelled() => return Err(Cut::Job(JobError::Stopped)),
                written = psql.write(&fit) => written,
            };
            if !written {
                return Err(Cut::Psql);
            }
            progress.raw(n);
            failpoint!("import.plain.piece");
        }
        let (rest, origin) = text.end().map_err(|fault| Cut::Job(damaged(&fault)))?;
        if psql.write(&rest).await { Ok((origin, bytes)) } else { Err(Cut::Psql) }
    };
    let said = said.await;
    // From here on no byte moves, however long the last statements take.
    drop(watched);
    match said {
        Ok((origin, bytes)) => {
            failpoint!("import.plain.commit.before");
            Ok(Filled { ran: psql.commit().await?, origin, bytes, layers })
        }
        Err(Cut::Psql) => Err(psql.gave_up().await.into()),
        Err(Cut::Job(error)) => {
            psql.stop().await?;
            Err(error)
        }
    }
}

fn damaged(fault: &crate::engine::postgres::plain::text::Fault) -> JobError {
    JobError::abort(
        "upload_incomplete",
        format!("the dump is not whole: {fault}"),
        "Send all of it, as pg_dump wrote it.",
    )
}

/// Drops what a failed import made.
async fn discard(job: &Job, at: &Connection, created: Created) {
    let database = created.database().clone();
    if let Err(error) = job.ctx.postgres.discard(at, created).await {
        tracing::error!(%database, error = %shared::telemetry::Causes(&error), "the database of a failed import could not be dropped");
    }
}
