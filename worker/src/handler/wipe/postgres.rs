//! Of a PostgreSQL database: one transaction. Its id stands in the journal before it is committed, so that whoever comes after a
//! crash can ask the server what became of it.

use serde_json::{Value, json};
use shared::{
    db::work::TargetWork,
    failpoint,
    job::{Journal, Step, WipeJob},
    name::DatabaseName,
};

use super::{Done, Job, JobError, first, save_first, undo};
use crate::engine::{Connection, Engine as _, EngineError, ErrorCode, postgres::WipePlan};

/// Looks, saves, empties, commits.
pub(super) async fn run(job: &Job, payload: &WipeJob, work: &TargetWork) -> Result<Done, JobError> {
    let (at, database) = job.ctx.connection(work, job.lease.fence)?;
    let (engine, cancel) = (&job.ctx.postgres, &job.lease.cancel);
    engine.end_older_sessions(&at, &at.maintenance_database, cancel).await?;
    let plan = engine.plan_wipe(&at, &database, &payload.keep, cancel).await?;
    if payload.dry_run {
        return Ok(Done::Plain(would(payload, &plan)));
    }
    if let Some(found) = plan.obstacle() {
        return Err(JobError::abort(found.code, format!("{}; nothing was changed", found.message), found.hint.clone()));
    }
    if plan.is_empty() {
        return Ok(Done::Wiped { found_something: false, result: result(payload, &plan, false) });
    }
    save_first(job, payload).await?;
    job.phase("wiping").await?;
    let mut wiping =
        engine.wipe(&at, &database, &payload.keep, payload.lock_timeout_s, cancel).await.map_err(untouched)?;
    failpoint!("wipe.emptied");
    let rest = wiping.rest();
    let mut result = result(payload, &wiping.plan, rest > 0);
    let step = Step::Transaction { database: database.clone(), id: wiping.transaction.clone() };
    job.commit_point(&Journal { step, result: result.clone() }).await?;
    // The last look before it is final: whoever was thought dead must not commit what a resolver has given up.
    job.still_owns().await?;
    failpoint!("wipe.commit.before");
    if let Err(error) = wiping.commit().await {
        return Err(JobError::unknown(format!("whether the wipe was committed is not known yet: {error}")));
    }
    failpoint!("wipe.commit.after");
    if rest > 0 {
        let (unlinked, error) = wiping.unlink_rest().await;
        result["large_objects"]["left"] = json!(rest - unlinked);
        if let Some(error) = error {
            warn(&mut result, format!("{} large objects are left, wipe again: {error}", rest - unlinked));
        }
    }
    wiping.close().await;
    Ok(Done::Wiped { found_something: true, result })
}

/// After a crash, of a transaction that was committed: what of it is left to say.
pub(in crate::handler) async fn resolved(
    job: &Job,
    at: &Connection,
    database: &DatabaseName,
    mut result: Value,
) -> Result<Done, JobError> {
    result["resolved"] = true.into();
    if result["large_objects"]["apart"] == true {
        let left = job.ctx.postgres.large_objects(at, database).await?;
        result["large_objects"]["left"] = json!(left);
        if left > 0 {
            warn(
                &mut result,
                format!("the worker ended while it unlinked large objects: {left} are there, wipe again"),
            );
        }
    }
    Ok(Done::Wiped { found_something: true, result })
}

/// What a dry run answers.
fn would(payload: &WipeJob, plan: &WipePlan) -> Value {
    json!({
        "dry_run": true,
        "engine": "postgres",
        "database": payload.database,
        "atomic": true,
        "would_fail": plan.obstacle().is_some(),
        "problems": plan.problems,
        "tables": first(&plan.tables),
        "table_count": plan.tables.len(),
        "kept": first(&plan.kept),
        "kept_count": plan.kept.len(),
        "sequences": first(&plan.sequences),
        "materialized_views": first(&plan.views),
        "large_objects": plan.large_objects,
        "estimates": "rows and bytes are the server's statistics",
    })
}

fn result(payload: &WipeJob, plan: &WipePlan, apart: bool) -> Value {
    let rows: i64 = plan.tables.iter().filter_map(|table| table.rows).sum();
    let tables: Vec<Value> = plan
        .tables
        .iter()
        .map(|table| json!({ "schema": table.schema, "table": table.table, "rows": table.rows }))
        .collect();
    json!({
        "engine": "postgres",
        "database": payload.database,
        "atomic": true,
        "rows": rows,
        "tables": first(&tables),
        "table_count": tables.len(),
        "kept": first(&plan.kept),
        "kept_count": plan.kept.len(),
        "sequences": plan.sequences.len(),
        "materialized_views": plan.views.len(),
        "large_objects": { "count": plan.large_objects, "apart": apart, "left": 0 },
        "warnings": [],
        "undo": undo(payload),
    })
}

fn warn(result: &mut Value, warning: String) {
    if let Some(warnings) = result["warnings"].as_array_mut() {
        warnings.push(warning.into());
    }
}

/// Somebody has to look who holds the lock: to wait for it again and again would stop the application each time.
fn untouched(error: EngineError) -> JobError {
    let waits = error.code() == ErrorCode::LockTimeout;
    match JobError::from(error) {
        JobError::Retry(problem) if waits => JobError::abort(
            &problem.code,
            format!("nothing was changed: {}", problem.message),
            "Another session holds a lock: end it, or give the wipe a longer lock_timeout_s, and start it again.",
        ),
        JobError::Abort(problem) => {
            JobError::abort(&problem.code, format!("nothing was changed: {}", problem.message), problem.hint)
        }
        other => other,
    }
}
