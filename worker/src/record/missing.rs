//! Copies that are not there, or not what was saved, are made again from a good one: a job for each, in the transaction
//! that says so.

use shared::{
    config,
    db::{DbError, jobs::JobRow},
    enqueue::{self, Asked},
    id::SaveId,
    name::Slug,
};
use sqlx::{Connection as _, PgConnection};

/// Enqueues a copy job for each of these stores, asked for by whoever asked for this job. The retries of those jobs are
/// what a store that is away gets; who wants more asks for a verification with repair.
pub(super) async fn enqueue(
    tx: &mut PgConnection,
    config: &config::Jobs,
    job: &JobRow,
    save: SaveId,
    stores: impl Iterator<Item = &str>,
) -> Result<(), DbError> {
    let asked = Asked {
        by: job.requested_by,
        request_id: job.request_id.clone(),
        trace_id: job.trace_id.clone(),
        ..Asked::by_nobody(config)
    };
    for name in stores {
        let Ok(store) = Slug::parse(name) else { continue };
        // What cannot be enqueued must not cost the record of what was done.
        let mut step = tx.begin().await?;
        match enqueue::copy(&mut step, save, store, &asked).await {
            Ok(copy) => {
                step.commit().await?;
                tracing::info!(store = name, copy.job = %copy, "a missing or broken copy is to be made again");
            }
            Err(error) => {
                step.rollback().await?;
                tracing::warn!(store = name, error = %shared::telemetry::Causes(&error), "a missing or broken copy is not made again");
            }
        }
    }
    Ok(())
}
