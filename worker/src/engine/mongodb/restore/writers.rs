//! Several writers at once, within a bound of memory: batches go out while the archive is read on.

use std::{collections::BTreeMap, time::Duration};

use mongodb::{
    Database,
    bson::{Bson, Document, RawDocumentBuf},
};
use tokio::task::JoinSet;

use super::{
    batch::{Batch, Ready},
    fault::{by_code, failed},
    series,
    tally::Tally,
};
use crate::engine::{EngineError, ErrorCode};

/// So many batches are on their way at once.
const WRITERS: usize = 4;
/// And so many bytes; the driver holds each of them once more. A single batch may be larger: one document of 16 MiB.
const IN_FLIGHT: usize = 8 << 20;
/// `CannotInsertTimeseriesBucketsWithMixedSchema`, of the server's `error_codes.yml`.
const MIXED: i32 = 408;
/// What was sent is waited for that long when it does not matter any more.
const SETTLE: Duration = Duration::from_secs(20);

/// Batches on their way.
#[derive(Debug)]
pub(super) struct Writers {
    database: Database,
    set: JoinSet<Result<Written, EngineError>>,
    bytes: usize,
    /// By collection: documents that were there already, as the save has them twice.
    twice: BTreeMap<usize, Tally>,
}

#[derive(Debug)]
struct Written {
    collection: usize,
    bytes: usize,
    twice: Tally,
}

impl Writers {
    pub(super) fn new(database: Database) -> Self {
        Self { database, set: JoinSet::new(), bytes: 0, twice: BTreeMap::new() }
    }

    /// Sends a batch as soon as there is room. `alone`: only after all before it, for collections whose order means
    /// something. An error may be that of a batch before.
    pub(super) async fn send(&mut self, batch: Batch, alone: bool) -> Result<(), EngineError> {
        let bytes = batch.len();
        let ready = batch.finish()?;
        while !self.set.is_empty()
            && (alone || self.set.len() >= WRITERS || self.bytes.saturating_add(bytes) > IN_FLIGHT)
        {
            self.take_one().await?;
        }
        self.bytes += bytes;
        let database = self.database.clone();
        self.set.spawn(async move {
            let collection = ready.collection;
            Ok(Written { collection, bytes, twice: write(&database, ready).await? })
        });
        Ok(())
    }

    /// Waits until all is written. What each collection had twice.
    pub(super) async fn finish(&mut self) -> Result<BTreeMap<usize, Tally>, EngineError> {
        while !self.set.is_empty() {
            self.take_one().await?;
        }
        Ok(std::mem::take(&mut self.twice))
    }

    /// After a failure: what was sent would make its collection anew, should that be dropped before it arrives.
    pub(super) async fn settle(&mut self) {
        let all = async { while self.set.join_next().await.is_some() {} };
        if tokio::time::timeout(SETTLE, all).await.is_err() {
            tracing::warn!("documents are still on their way to a server that does not answer");
        }
    }

    async fn take_one(&mut self) -> Result<(), EngineError> {
        let Some(done) = self.set.join_next().await else { return Ok(()) };
        let written = done.map_err(|error| {
            EngineError::new(ErrorCode::Internal, "a writer of the restore died").with_source(error)
        })??;
        self.bytes -= written.bytes;
        if written.twice != Tally::default() {
            self.twice.entry(written.collection).or_default().add(written.twice);
        }
        Ok(())
    }
}

/// Writes a batch. What of it was there already.
async fn write(database: &Database, ready: Ready) -> Result<Tally, EngineError> {
    let Ready { series, command, tallies, .. } = ready;
    let again = series.map(|series| (series, command.clone()));
    let mut refusals = insert(database, command).await?;
    if let Some((series, command)) = again {
        if refusals.values().any(|refusal| code(refusal) == MIXED) {
            series::allow_mixed(database, &series).await?;
            refusals = insert(database, command).await?;
        }
        // Nobody writes a bucket but this job: the first time, or a worker that was thought dead. The comparison says whether it
        // is the same.
        refusals.retain(|_, refusal| !is_duplicate(refusal));
    }
    let mut twice = Tally::default();
    for (at, refusal) in &refusals {
        // There is no other unique index yet than that of _id.
        match tallies.get(*at) {
            Some(tally) if is_duplicate(refusal) => twice.add(*tally),
            _ => return Err(refused(refusal, "the server refused a document")),
        }
    }
    Ok(twice)
}

/// What the server says of documents that it did not take, by their place in the command.
async fn insert(database: &Database, command: RawDocumentBuf) -> Result<BTreeMap<usize, Document>, EngineError> {
    let mut answer = database.run_raw_command(command).await.map_err(failed("writing documents"))?;
    if let Ok(concern) = answer.get_document("writeConcernError") {
        return Err(refused(concern, "the server could not make documents durable"));
    }
    let Some(Bson::Array(errors)) = answer.remove("writeErrors") else { return Ok(BTreeMap::new()) };
    let placed = |error: Bson| match error {
        Bson::Document(error) => {
            let at = error.get_i32("index").ok().and_then(|at| usize::try_from(at).ok());
            Some((at.unwrap_or(usize::MAX), error))
        }
        _ => None,
    };
    Ok(errors.into_iter().filter_map(placed).collect())
}

fn is_duplicate(error: &Document) -> bool {
    matches!(code(error), 11000 | 11001 | 12582)
}

fn code(error: &Document) -> i32 {
    error.get_i32("code").unwrap_or_default()
}

fn refused(error: &Document, what: &str) -> EngineError {
    let code = by_code(code(error));
    EngineError::new(code, format!("{what}: {}", error.get_str("errmsg").unwrap_or("it does not say why")))
}
