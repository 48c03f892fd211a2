//! The sweeper: every process runs one, a transaction's advisory lock lets one work at a time. SQL alone: it never
//! touches a store or a target.

mod proofs;

use std::{sync::Arc, time::Duration};

use shared::{
    db::{
        counters, data_set_restores, gc, kept, retention, sweep,
        workers::{self, WorkerRow},
    },
    enqueue::{self, Asked, EnqueueError, GcRequest},
    failpoint,
    queue::{self, QUEUE},
};
use sqlx::Connection;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// Hints sent again in one sweep.
const HINTS: i64 = 500;
/// Databases whose time is over, for which one sweep enqueues jobs.
const EXPIRIES: i64 = 20;
/// Restores of data sets that one sweep takes on.
const DATA_SETS: i64 = 20;
/// Schedules and targets whose saves one sweep has looked at.
const RETENTIONS: i64 = 200;

/// Sweeps until told to stop.
pub async fn run(ctx: Arc<Context>, me: WorkerRow, stop: CancellationToken) {
    // Leases are taken away only after a whole lease of unbroken sight: after an outage every lease has run out, and
    // those who hold them must get to beat first.
    let mut healthy_since = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(ctx.settings.sweep) => {}
        }
        let sweep = sweep_once(&ctx, &me, healthy_since.elapsed() >= ctx.settings.lease);
        match tokio::time::timeout(ctx.settings.lease, sweep).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %shared::telemetry::Causes(&error), "the sweep failed and is tried again");
                healthy_since = Instant::now();
            }
            Err(_) => {
                tracing::warn!("the sweep took longer than a lease");
                healthy_since = Instant::now();
            }
        }
    }
    let gone = async {
        let mut conn = ctx.pool.acquire().await?;
        workers::gone(&mut conn, me.id).await
    };
    if !matches!(tokio::time::timeout(Duration::from_secs(2), gone).await, Ok(Ok(()))) {
        tracing::debug!("the worker's row stays until it is pruned");
    }
}

async fn sweep_once(ctx: &Context, me: &WorkerRow, may_expire: bool) -> Result<(), EnqueueError> {
    let mut conn = ctx.pool.acquire().await.map_err(shared::db::DbError::from)?;
    workers::seen(&mut conn, me).await?;
    let mut tx = conn.begin().await.map_err(shared::db::DbError::from)?;
    if !sweep::is_mine(&mut tx).await? {
        return Ok(());
    }
    let mut acted = false;
    if may_expire {
        for job in sweep::expire_leases(&mut tx, ctx.settings.lease).await? {
            tracing::warn!(job.id = %job.id, job.epoch = job.epoch, job.state = job.state.as_str(), "a lease ran out");
            acted = true;
        }
    }
    sweep::cancel_orphans(&mut tx).await?;
    if !ctx.gc.interval.is_zero() {
        for worker_group in gc::groups_due(&mut tx, ctx.gc.grace, ctx.gc.interval).await? {
            let wanted = GcRequest { store: None, worker_group, dry_run: false };
            let job = enqueue::gc(&mut tx, wanted, &Asked::by_nobody(&ctx.jobs)).await?;
            tracing::info!(job.id = %job, "a collection is due");
        }
    }
    for (kept, target) in kept::take_due(&mut tx, EXPIRIES).await? {
        enqueue::expire(&mut tx, kept, target, &Asked::by_nobody(&ctx.jobs)).await?;
    }
    for (schedule, target) in retention::take_due(&mut tx, RETENTIONS).await? {
        enqueue::retention(&mut tx, schedule, target, &Asked::by_nobody(&ctx.jobs)).await?;
    }
    for save in retention::take_expired(&mut tx, EXPIRIES).await? {
        let is_going = enqueue::delete_unused(&mut tx, save, &Asked::by_nobody(&ctx.jobs)).await?;
        tracing::info!(save.id = %save, save.is_used = !is_going, "the time of a save is over");
    }
    for group in data_set_restores::take_due(&mut tx, DATA_SETS).await? {
        enqueue::advance(&mut tx, group, &Asked::by_nobody(&ctx.jobs)).await?;
    }
    proofs::ask(&mut tx, &ctx.jobs).await?;
    let due = sweep::take_undispatched(&mut tx, HINTS).await?;
    queue::hint(&mut tx, &due).await?;
    sweep::prune(&mut tx, QUEUE).await?;
    counters::settle(&mut tx).await?;
    if acted || !due.is_empty() {
        failpoint!("sweep.commit.before");
    }
    tx.commit().await.map_err(shared::db::DbError::from)?;
    if acted || !due.is_empty() {
        failpoint!("sweep.commit.after");
    }
    Ok(())
}
