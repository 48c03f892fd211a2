//! Jobs that ended, as they end: one listening connection per process, whoever waits.

use std::{str::FromStr, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::{id::JobId, telemetry::Causes};

/// Its payload is the id of the job that ended.
pub const CHANNEL: &str = "holdfast_job_done";

/// Passes on the ids until cancelled. A lost connection is made again; what was missed meanwhile, waiters find by
/// looking themselves, as they do each second.
pub async fn forward(pool: PgPool, ended: broadcast::Sender<JobId>, cancel: CancellationToken) {
    while !cancel.is_cancelled() {
        let Err(error) = cancel.run_until_cancelled(listen(&pool, &ended)).await.unwrap_or(Ok(())) else { return };
        tracing::warn!(error = %Causes(&error), "lost the connection that listens for ended jobs");
        cancel.run_until_cancelled(tokio::time::sleep(Duration::from_secs(1))).await;
    }
}

async fn listen(pool: &PgPool, ended: &broadcast::Sender<JobId>) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notice = listener.recv().await?;
        if let Ok(id) = JobId::from_str(notice.payload())
            && ended.send(id).is_err()
        {
            // Nobody waits at the moment.
            tracing::trace!(job.id = %id, "a job ended and nobody waits");
        }
    }
}
