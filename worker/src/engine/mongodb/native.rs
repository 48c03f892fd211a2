//! Holdfast's own dump: several collections at once, documents as bytes from the server's answers into the archive.

mod budget;
mod collection;
mod output;
mod survey;

use std::sync::Arc;

use shared::name::DatabaseName;
use tokio::{io::DuplexStream, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::{budget::Budget, output::Output, survey::Survey};
use super::{
    super::{Dump, DumpOptions, EngineError, ErrorCode, ProbeReport, Running},
    ARCHIVE, NATIVE, Session,
    archive::{Header, Prelude},
    cancellable,
};

/// Collections that are read at once.
const AT_ONCE: usize = 4;

/// Lists what is to be dumped, and starts to.
pub(super) async fn dump(
    session: Session,
    database: &DatabaseName,
    options: &DumpOptions,
    probe: &ProbeReport,
    cancel: &CancellationToken,
) -> Result<Dump<Running>, EngineError> {
    let survey = cancellable(cancel, survey::survey(&session, database, options, probe)).await?;
    let version = env!("CARGO_PKG_VERSION");
    let at_once = AT_ONCE.min(survey.collections.len()).max(1);
    let prelude = Prelude {
        header: Header {
            concurrent_collections: i32::try_from(at_once).unwrap_or(1),
            server_version: probe.server_version.clone(),
            tool_version: format!("{NATIVE}-{version}"),
        },
        namespaces: survey.collections.iter().map(|collection| collection.namespace.clone()).collect(),
    };
    let database = session.database(database);
    let warnings = survey.warnings.clone();
    let write = move |pipe| write(database, session, survey, prelude, at_once, pipe);
    Ok(Dump::of_task((NATIVE, version.to_owned()), warnings, ARCHIVE, cancel, write))
}

/// Writes the whole archive; how many bytes it has. The largest collections come first, so that none is left alone at the
/// end.
async fn write(
    database: mongodb::Database,
    session: Session,
    survey: Survey,
    prelude: Prelude,
    at_once: usize,
    pipe: DuplexStream,
) -> Result<u64, EngineError> {
    let output = Arc::new(Output::begin(&prelude, pipe).await?);
    let budget = Budget::new();
    let mut waiting = survey.by_size().into_iter();
    let mut reading = JoinSet::new();
    loop {
        while reading.len() < at_once
            && let Some((at, collection)) = waiting.next()
        {
            let (database, output, budget) = (database.clone(), Arc::clone(&output), budget.clone());
            reading.spawn(async move { collection::dump(&database, at, &collection, &output, &budget).await });
        }
        // An error drops the others with the set.
        match reading.join_next().await {
            None => break,
            Some(Ok(done)) => done?,
            Some(Err(error)) => {
                return Err(EngineError::new(ErrorCode::Internal, "the task of a collection died").with_source(error));
            }
        }
    }
    drop(session);
    let output = Arc::into_inner(output)
        .ok_or_else(|| EngineError::new(ErrorCode::Internal, "somebody still writes into a finished archive"))?;
    output.end().await
}
