//! What a verification says of a save, in the fenced finish of its job.

use serde_json::json;
use shared::{
    db::{DbError, jobs::JobRow, outbox, verify},
    enqueue::{self, Asked, EnqueueError, Enqueued},
    event::NewEvent,
    name::Slug,
};
use sqlx::PgConnection;

use crate::handler::verify::{Outcome, Verdict, Verified};

/// The states of the copies, the save's flags, and an event per kind of finding.
pub(super) async fn write(tx: &mut PgConnection, job: &JobRow, verified: &Verified) -> Result<(), DbError> {
    for verdict in &verified.verdicts {
        let Some(state) = verdict.outcome.state() else { continue };
        let problem = verdict.problem.as_ref();
        verify::settle_copy(tx, verified.save_id, &verdict.store, verdict.epoch, state, problem).await?;
    }
    let Some(standing) = verify::settle_save(tx, verified.save_id, verified.is_enough()).await? else { return Ok(()) };
    let found = |outcome: Outcome| verified.count(outcome) > 0;
    let kinds = [
        ("save.corrupt", found(Outcome::Corrupt) || found(Outcome::Missing)),
        ("save.unreachable", found(Outcome::Unreachable)),
        ("save.verified", verified.is_enough()),
    ];
    for (kind, _) in kinds.into_iter().filter(|(_, happened)| *happened) {
        let event = NewEvent {
            kind: kind.to_owned(),
            subject: format!("saves/{}", verified.save_id),
            aggregate: format!("save:{}", verified.save_id),
            service: job.service_id,
            trace_id: job.trace_id.clone(),
            data: json!({
                "save_id": verified.save_id, "target_id": job.target_id, "job_id": job.id, "copies": verified.verdicts,
                "good": standing.good, "required": standing.required, "valid": standing.is_enough(),
            }),
        };
        outbox::insert(tx, &event).await?;
    }
    if verified.repair && standing.good > 0 {
        repair(tx, job, verified).await?;
    }
    Ok(())
}

/// A job for each copy that is broken, asked for by whoever asked for the verification.
async fn repair(tx: &mut PgConnection, job: &JobRow, verified: &Verified) -> Result<(), DbError> {
    let asked = Asked {
        by: job.requested_by,
        request_id: job.request_id.clone(),
        trace_id: job.trace_id.clone(),
        priority: None,
        attempts: job.max_attempts,
        safety_s: 0.0,
        enqueued: Enqueued::default(),
    };
    let broken = |verdict: &&Verdict| matches!(verdict.outcome, Outcome::Corrupt | Outcome::Missing);
    for verdict in verified.verdicts.iter().filter(broken) {
        let Ok(store) = Slug::parse(verdict.store.as_str()) else { continue };
        match enqueue::copy(tx, verified.save_id, store, &asked).await {
            Ok(job) => tracing::info!(store = verdict.store, repair.job = %job, "a broken copy is made again"),
            Err(EnqueueError::Db(error)) => return Err(error),
            Err(error) => {
                tracing::warn!(store = verdict.store, error = %shared::telemetry::Causes(&error), "a broken copy is not made again");
            }
        }
    }
    Ok(())
}
