//! One claimed job from claim to finish: handler, beat, progress, time-outs, and the one transaction that ends it.

use std::{sync::Arc, time::Duration};

use shared::{
    db::{
        DbError, claim, data_set_restores,
        finish::{self, Outcome},
        jobs::JobRow,
        sweep,
    },
    enqueue::{self, Asked, EnqueueError},
    failpoint,
    job::{JobState, Payload, Problem, Progress},
};
use sqlx::Connection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use crate::{
    context::Context,
    handler::{self, Done, Job, JobError},
    lease::{Lease, Rhythm, Stop},
    record,
    transfer::upload::Upload,
};

/// How often progress is written and time-outs are looked at.
const TICK: Duration = Duration::from_secs(1);
/// A stopped handler ends its children and takes its bytes away within this time, or is let go of.
const WIND_DOWN: Duration = Duration::from_mins(1);

/// Runs a claimed job to its end. `claimed` is an instant before the claim was sent; `upload` came with the request that the
/// job is for.
pub async fn run(
    ctx: Arc<Context>,
    lease: Arc<Lease>,
    row: JobRow,
    claimed: Instant,
    hard: CancellationToken,
    upload: Option<Upload>,
) {
    let span = info_span!("worker.job.run", job.id = %row.id, job.kind = %row.kind, job.attempt = row.attempt, job.epoch = row.epoch,
        trace.id = row.trace_id.as_deref().unwrap_or_default());
    let job = Job::new(ctx, lease, upload);
    attempt(job, row, claimed, hard).instrument(span).await;
}

async fn attempt(job: Job, row: JobRow, claimed: Instant, hard: CancellationToken) {
    let (ctx, lease) = (Arc::clone(&job.ctx), Arc::clone(&job.lease));
    let rhythm = Rhythm { lease: ctx.settings.lease, beat: ctx.settings.beat };
    let beat = tokio::spawn({
        let (ctx, lease) = (Arc::clone(&ctx), Arc::clone(&lease));
        async move { lease.keep(&ctx.beats, rhythm, claimed).await }
    });
    tracing::info!("job started");
    let payload = row.decode();
    let worked = match &payload {
        Err(error) => Err(JobError::Abort(sweep::unreadable(&row, &error.to_string()))),
        Ok(payload) => work(&job, payload, &row, &hard).await,
    };
    if lease.stopped() == Some(Stop::Lost) {
        tracing::warn!("the lease was lost; whatever this attempt did is not recorded");
    } else {
        let (outcome, done) = outcome(&job, &row, worked);
        if let Some(state) = end(&ctx, &lease, &row, payload.as_ref().ok(), outcome, done.as_ref(), &hard).await {
            tracing::info!(job.state = state.as_str(), "job attempt ended");
            if row.group_id.is_some() && state.is_terminal() {
                go_on(&ctx, &row).await;
            }
        } else {
            tracing::warn!("somebody else owns the job; nothing was written");
        }
    }
    lease.cancel.cancel();
    beat.abort();
}

/// Takes the restore of a data set further that has waited for the job. Where it fails the sweeper does it.
async fn go_on(ctx: &Context, row: &JobRow) {
    let gone_on = async {
        let mut conn = ctx.pool.acquire().await.map_err(DbError::from)?;
        let Some(group) = data_set_restores::waiting_for(&mut conn, row.id).await? else { return Ok(()) };
        let mut tx = conn.begin().await.map_err(DbError::from)?;
        enqueue::advance(&mut tx, group, &Asked::by_nobody(&ctx.jobs)).await?;
        failpoint!("data_set.commit.before");
        tx.commit().await.map_err(DbError::from)?;
        failpoint!("data_set.commit.after");
        Ok::<_, EnqueueError>(())
    };
    if let Err(error) = gone_on.await {
        tracing::warn!(error = %shared::telemetry::Causes(&error), "the restore of a data set waits for the next sweep");
    }
}

/// The handler, watched: progress to the row, deadline, stall, and a worker that goes down.
async fn work(job: &Job, payload: &Payload, row: &JobRow, hard: &CancellationToken) -> Result<Done, JobError> {
    let settings = &job.ctx.settings;
    let seconds = |own: Option<i32>, default: Duration| {
        own.and_then(|s| u64::try_from(s).ok()).map_or(default, Duration::from_secs)
    };
    let deadline = seconds(row.deadline_s, settings.job_deadline);
    let stall = seconds(row.stall_s, settings.stall);
    let began = Instant::now();
    let handler = handler::run(job, payload, row.journal.as_ref().map(|journal| &journal.0));
    tokio::pin!(handler);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            done = &mut handler => return done,
            () = hard.cancelled(), if job.lease.stopped().is_none() => job.lease.stop(Stop::Shutdown),
            () = job.lease.cancel.cancelled() => break,
            _ = tick.tick() => {
                if began.elapsed() >= deadline {
                    job.lease.stop(Stop::Deadline(deadline));
                } else if let Some(streaming) = job.streaming() {
                    if streaming.progress.idle() >= stall {
                        job.lease.stop(Stop::Stalled(stall));
                    } else {
                        show(job, &streaming).await;
                    }
                }
            }
        }
    }
    if let Ok(done) = tokio::time::timeout(WIND_DOWN, handler).await {
        done
    } else {
        tracing::error!("the handler did not stop in time and is let go of; its bytes are left to gc");
        Err(JobError::Stopped)
    }
}

async fn show(job: &Job, streaming: &handler::Streaming) {
    let stream = &streaming.progress;
    let elapsed = stream.started().elapsed();
    let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let raw_bytes = stream.raw_bytes();
    let progress = Progress {
        raw_bytes,
        stored_bytes: stream.stored_bytes(),
        bytes_per_s: raw_bytes.saturating_mul(1000).checked_div(elapsed_ms).unwrap_or_default(),
        estimated_bytes: streaming.estimated_bytes,
        elapsed_ms,
    };
    let written = async {
        let mut conn = job.ctx.beats.acquire().await?;
        claim::set_progress(&mut conn, job.lease.fence, &progress).await
    };
    // Progress is for people to look at: late is fine, waiting for it is not.
    match tokio::time::timeout(TICK, written).await {
        Ok(Ok(true)) | Err(_) => {}
        Ok(Ok(false)) => job.lease.stop(Stop::Lost),
        Ok(Err(error)) => tracing::debug!(error = %shared::telemetry::Causes(&error), "progress was not written"),
    }
}

fn outcome(job: &Job, row: &JobRow, worked: Result<Done, JobError>) -> (Outcome, Option<Done>) {
    let (settings, lease) = (&job.ctx.settings, &job.lease);
    let problem = match worked {
        // Whatever stopped it came too late: the work is done.
        Ok(done) => return (Outcome::Succeeded(done.result()), Some(done)),
        Err(JobError::Abort(problem)) if lease.stopped().is_none() => return (Outcome::Failed(problem), None),
        Err(JobError::Retry(problem)) if lease.stopped().is_none() && problem.retry_after_s.is_some() => {
            let delay = Duration::from_secs(problem.retry_after_s.unwrap_or_default());
            tracing::info!(
                error.code = problem.code,
                error = problem.message,
                retry.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                "the job is put off"
            );
            return (Outcome::Postponed { problem, delay }, None);
        }
        Err(JobError::Retry(problem)) if lease.stopped().is_none() => problem,
        // Whatever stopped it: what stands in the journal may have happened, and only a look can tell.
        Err(_) if job.is_committing() && lease.stopped() != Some(Stop::Cancelled) => Problem::retryable(
            "stopped",
            "the job was stopped at its point of no return",
            "It looks what became of it.",
        ),
        Err(_) => match lease.stopped() {
            Some(Stop::Cancelled) => return (Outcome::Cancelled, None),
            Some(Stop::Shutdown) => return (Outcome::Released, None),
            Some(Stop::Deadline(limit)) => {
                let message = format!("the job ran longer than the {} s it may", limit.as_secs());
                return (
                    Outcome::Failed(Problem::permanent(
                        "deadline_exceeded",
                        message,
                        "Give the target a longer deadline_s, or find out what was slow in the job's stages.",
                    )),
                    None,
                );
            }
            Some(Stop::Stalled(limit)) => Problem::retryable(
                "stalled",
                format!("no byte moved for {} s", limit.as_secs()),
                "Look for locks on the source, a hung network or a hung store; stall_s of the target sets the limit.",
            ),
            Some(Stop::Lost) | None => Problem::retryable("stopped", "the job was stopped", "It runs again."),
        },
    };
    let delay = backoff(settings.backoff_base, settings.backoff_cap, row.attempt, jitter());
    tracing::warn!(
        error.code = problem.code,
        error = problem.message,
        retry.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        "the attempt failed"
    );
    (Outcome::Retry { problem, delay }, None)
}

/// `base · 2^(attempt − 1)`, at most `cap`, times 0.8 to 1.2. `jitter` is 0 to 1.
fn backoff(base: Duration, cap: Duration, attempt: i32, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempt - 1).unwrap_or_default().min(16);
    base.saturating_mul(1 << doublings).min(cap).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0))
}

fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX))
}

/// Writes the end. Once the transaction was sent its fate may be unknown: then the row is read again until PostgreSQL
/// answers. `None`: the fence did not hold.
async fn end(
    ctx: &Context,
    lease: &Lease,
    row: &JobRow,
    payload: Option<&Payload>,
    mut outcome: Outcome,
    mut done: Option<&Done>,
    hard: &CancellationToken,
) -> Option<JobState> {
    let mut wait = Duration::from_millis(100);
    loop {
        match write(ctx, lease, payload, &outcome, done).await {
            Ok(state) => return state,
            Err(error) if error.is_transient() => {
                tracing::warn!(
                    error = %shared::telemetry::Causes(&error),
                    "the end of the job may or may not be written; looking again"
                );
            }
            Err(error) => {
                tracing::error!(error = %shared::telemetry::Causes(&error), "the job's record was refused");
                outcome = Outcome::Failed(Problem::permanent(
                    "record_refused",
                    handler::chain(&error),
                    "This is a fault of Holdfast: report it.",
                ));
                done = None;
            }
        }
        if hard.is_cancelled() && wait > Duration::from_secs(2) {
            // The lease runs out by itself and the row says what became of it.
            return None;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(5));
        if let Ok((epoch, state)) = standing(ctx, row).await {
            if epoch != lease.fence.epoch {
                return None;
            }
            if state != JobState::Running {
                return Some(state);
            }
        }
    }
}

async fn write(
    ctx: &Context,
    lease: &Lease,
    payload: Option<&Payload>,
    outcome: &Outcome,
    done: Option<&Done>,
) -> Result<Option<JobState>, DbError> {
    let mut conn = ctx.pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let Some(job) = finish::finish(&mut tx, lease.fence, outcome).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    if let (Some(done), Some(payload)) = (done, payload) {
        record::write(&mut tx, &ctx.jobs, lease.fence, &job, payload, done).await?;
    }
    failpoint!("finish.commit.before");
    tx.commit().await?;
    failpoint!("finish.commit.after");
    Ok(Some(job.state))
}

async fn standing(ctx: &Context, row: &JobRow) -> Result<(i64, JobState), DbError> {
    let mut conn = ctx.pool.acquire().await?;
    claim::standing(&mut conn, row.id).await?.ok_or(DbError::Rows { table: "jobs", expected: 1, actual: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_to_its_cap_and_keeps_within_a_fifth() {
        let (base, cap) = (Duration::from_secs(5), Duration::from_mins(15));
        let middle: Vec<u64> = (1..=12).map(|n| backoff(base, cap, n, 0.5).as_secs()).collect();
        assert_eq!(middle, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]);
        assert_eq!(backoff(base, cap, 1, 0.0), Duration::from_secs(4));
        assert_eq!(backoff(base, cap, 1, 1.0), Duration::from_secs(6));
        assert_eq!(backoff(base, cap, i32::MAX, 1.0), Duration::from_mins(18));
    }
}
