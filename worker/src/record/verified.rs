//! What a verification says of a save, in the fenced finish of its job.

use serde_json::json;
use shared::{
    config,
    db::{DbError, jobs::JobRow, outbox, verify},
    event::NewEvent,
};
use sqlx::PgConnection;

use super::missing;
use crate::handler::verify::{Outcome, Verdict, Verified};

/// The states of the copies, the save's flags and history, and an event per kind of finding.
pub(super) async fn write(
    tx: &mut PgConnection,
    config: &config::Jobs,
    job: &JobRow,
    verified: &Verified,
) -> Result<(), DbError> {
    for verdict in &verified.verdicts {
        let Some(state) = verdict.outcome.state() else { continue };
        let problem = verdict.problem.as_ref();
        verify::settle_copy(tx, verified.save_id, &verdict.store, verdict.epoch, state, problem).await?;
    }
    let Some(standing) = verify::settle_save(tx, verified.save_id, verified.judgement()).await? else { return Ok(()) };
    let new = verify::NewVerification {
        save_id: verified.save_id,
        job_id: job.id,
        depth: verified.depth,
        passed: verified.passed(),
        duration: verified.duration,
        result: verified.result(),
    };
    verify::insert(tx, &new).await?;
    let unusable = verified.unusable().map(|(depth, reason)| json!({ "depth": depth, "reason": reason }));
    let found = |outcome: Outcome| verified.count(outcome) > 0;
    let kinds = [
        ("save.corrupt", found(Outcome::Corrupt) || found(Outcome::Missing) || unusable.is_some()),
        ("save.unreachable", found(Outcome::Unreachable)),
        ("save.verified", verified.passed()),
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
                "good": standing.good, "required": standing.required, "valid": standing.valid, "depth": verified.depth,
                "unusable": unusable,
            }),
        };
        outbox::insert(tx, &event).await?;
    }
    if verified.repair && standing.good > 0 {
        let broken = |verdict: &&Verdict| matches!(verdict.outcome, Outcome::Corrupt | Outcome::Missing);
        let broken = verified.verdicts.iter().filter(broken).map(|verdict| verdict.store.as_str());
        missing::enqueue(tx, config, job, verified.save_id, broken).await?;
    }
    Ok(())
}
