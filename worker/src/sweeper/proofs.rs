//! Verifications that schedules want: each depth so often, of the newest save of each of their targets.

use shared::{
    config,
    db::proofs,
    enqueue::{self, Asked, EnqueueError, VerifyRequest},
};
use sqlx::PgConnection;

/// So many are asked for in one sweep.
const PROOFS: i64 = 20;
/// Whatever somebody waits for goes first.
const PRIORITY: i16 = 2;

/// Enqueues what is due, as nobody.
pub(super) async fn ask(tx: &mut PgConnection, jobs: &config::Jobs) -> Result<(), EnqueueError> {
    for due in proofs::due(tx, PROOFS).await? {
        let wanted = VerifyRequest { save_id: due.save_id, stores: Vec::new(), repair: true, depth: due.depth };
        let asked = Asked { priority: Some(PRIORITY), ..Asked::by_nobody(jobs) };
        let job = match enqueue::verify(tx, wanted, &asked).await {
            Ok(job) => job,
            // It is on its way out since it was looked for: nothing was written.
            Err(
                EnqueueError::SaveMissing(_) | EnqueueError::SaveNotReadable { .. } | EnqueueError::TargetMissing(_),
            ) => continue,
            Err(error) => return Err(error),
        };
        proofs::asked(tx, &due, job).await?;
        tracing::info!(job.id = %job, save.id = %due.save_id, depth = due.depth.as_str(), schedule.id = %due.schedule_id, "a verification is due");
    }
    Ok(())
}
