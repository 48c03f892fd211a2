//! What a restore would do and what would keep it from it, without doing anything: the engine looks at the server, this
//! adds what is known of the save and how long it would take.

mod mongo;

use std::time::Duration;

use serde_json::json;
use shared::{
    db::{rates, saves, work::Purpose},
    id::{SaveId, ServerId},
    job::{PreflightJob, RestoreJob},
    manifest::Manifest,
    save::SaveState,
};

use super::{Done, Job, JobError, heads, mongo::MONGODB};
use crate::{
    engine::{
        Connection, DatabaseProperties,
        postgres::{Finding, Plan, Severity},
    },
    record::reading::SavedCopy,
};

/// Looks and reports. What would fail is part of the answer, not a failure.
pub async fn run(job: &Job, payload: &PreflightJob) -> Result<Done, JobError> {
    job.phase("looking").await?;
    let restore = &payload.restore;
    let work = job.target(restore.target_id, Purpose::Restore).await?;
    if work.engine == MONGODB {
        return mongo::run(job, restore, &work).await;
    }
    let (at, _) = job.ctx.connection(&work, job.lease.fence)?;
    let (manifest, copies) = load(job, restore.save_id).await?;
    let mut problems = Vec::new();
    if copies.is_empty() {
        problems.push(error(
            "no_copy",
            "the save has no good copy in a store of this worker",
            "Start a worker that has the store, or choose another save.",
        ));
    }
    let properties: DatabaseProperties = serde_json::from_value(manifest.database_properties.clone()).map_err(|e| {
        JobError::abort(
            "manifest_unreadable",
            format!("the manifest's database properties cannot be read: {e}"),
            "Use a newer version.",
        )
    })?;
    let contents = match heads::contents(job, &copies).await {
        Ok(contents) => Some(contents),
        Err(JobError::Stopped) => return Err(JobError::Stopped),
        Err(error) => {
            problems.push(Finding {
                code: "contents_unknown",
                severity: Severity::Warning,
                message: format!("the dump's list of contents could not be read: {error}"),
                hint: "Extensions, roles, locks and dependants were not looked at. Look at the store.".to_owned(),
            });
            None
        }
    };
    let plan = Plan {
        manifest: &manifest,
        properties: &properties,
        restore,
        capacity: work.capacity_bytes,
        contents: contents.as_ref(),
    };
    let report = job.ctx.postgres.preflight(&at, plan, &job.lease.cancel).await?;
    problems.extend(report.problems.iter().cloned());
    problems.sort_by_key(|finding| finding.severity);

    let raw_bytes = manifest.raw_bytes();
    let (expected_duration_s, based_on) = expected(job, work.server_id, restore.save_id, raw_bytes).await?;
    let mut would = json!(report.would);
    let kept = report.would.keep_old_s.map(|kept| {
        let took = Duration::try_from_secs_f64(expected_duration_s.unwrap_or_default()).unwrap_or_default();
        chrono::Utc::now() + took + Duration::from_secs(kept.into())
    });
    would["keep_old_until"] = json!(kept);
    Ok(Done::Plain(json!({
        "would": would,
        "would_fail": problems.first().is_some_and(|problem| problem.severity == Severity::Error),
        "problems": problems,
        "server_version": report.server_version,
        "save": {
            "raw_bytes": raw_bytes, "stored_bytes": manifest.stored_bytes(),
            "inventory": manifest.inventory, "server_version": manifest.server_version, "tool_major": manifest.tool_major,
        },
        "target": report.target,
        "estimates": "bytes and rows of the target are the server's statistics, the duration is by what was measured before",
        "expected_duration_s": expected_duration_s,
        "expected_duration_based_on": based_on,
    })))
}

/// What a restore in place asks before it begins: whether anything is known to make it fail. Sessions that cannot be ended
/// now may be gone by the time they are in the way.
pub(super) async fn require(
    job: &Job,
    at: &Connection,
    manifest: &Manifest,
    copies: &[SavedCopy],
    properties: &DatabaseProperties,
    restore: &RestoreJob,
    capacity: Option<i64>,
) -> Result<(), JobError> {
    let contents = match heads::contents(job, copies).await {
        Ok(contents) => Some(contents),
        Err(JobError::Stopped) => return Err(JobError::Stopped),
        // The restore reads the copies itself, and says what is wrong with them.
        Err(_) => None,
    };
    let plan = Plan { manifest, properties, restore, contents: contents.as_ref(), capacity };
    let report = job.ctx.postgres.preflight(at, plan, &job.lease.cancel).await?;
    let sure = |finding: &Finding| finding.severity == Severity::Error && finding.code != "sessions_cannot_be_ended";
    match report.problems.into_iter().find(sure) {
        Some(found) => Err(JobError::abort(found.code, found.message, found.hint)),
        None => Ok(()),
    }
}

async fn load(job: &Job, id: SaveId) -> Result<(Manifest, Vec<SavedCopy>), JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let save = saves::get(&mut conn, id).await?;
    let available = save.filter(|save| save.state == SaveState::Available).and_then(|save| save.manifest);
    let Some(manifest) = available else {
        let message = format!("save {id} is not available any more");
        return Err(JobError::abort("save_not_available", message, "Choose another save."));
    };
    let copies = SavedCopy::good(&mut conn, &job.ctx, id, &manifest.0).await?;
    Ok((manifest.0, copies))
}

/// Seconds, and what they stand on.
async fn expected(
    job: &Job,
    server: ServerId,
    save: SaveId,
    raw_bytes: u64,
) -> Result<(Option<f64>, serde_json::Value), JobError> {
    let mut conn = job.ctx.pool.acquire().await?;
    let (rate, of) = match rates::of_restores(&mut conn, server).await? {
        Some(rate) => (Some(rate), "restores on this server"),
        None => {
            (rates::of_backup(&mut conn, save).await?, "the backup of this save, as no restore on this server is known")
        }
    };
    let Some(rate) = rate else { return Ok((None, json!(null))) };
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let seconds = raw_bytes as f64 / rate.bytes_per_s;
    Ok((Some(seconds), json!({ "bytes_per_s": rate.bytes_per_s.round(), "jobs": rate.jobs, "of": of })))
}

fn error(code: &'static str, message: &str, hint: &str) -> Finding {
    Finding { code, severity: Severity::Error, message: message.to_owned(), hint: hint.to_owned() }
}
