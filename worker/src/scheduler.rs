//! The scheduler: each worker runs one, and they share the work. Each takes schedules of which something is due, under
//! their row locks, and decides and enqueues in that one transaction, so that every slot fires once. SQL alone: it never
//! touches a store or a target. What is due the clock of the database says.

mod overdue;
mod plan;
mod round;

use std::{collections::HashMap, sync::Arc, time::Duration};

use shared::{
    db::{DbError, slots},
    id::ScheduleId,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{
    overdue::Watch,
    round::{Failed, round},
};
use crate::context::Context;

/// The longest sleep: a new schedule is planned within it.
const TICK: Duration = Duration::from_secs(1);
/// The shortest: what is due now another scheduler has taken.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a schedule is left alone that could not be worked on, so that the others are.
const PUT_OFF: Duration = Duration::from_mins(1);
/// A round that takes longer is given up: its locks go with it.
const PATIENCE: Duration = Duration::from_mins(1);

/// Fires what is due until told to stop.
pub async fn run(ctx: Arc<Context>, stop: CancellationToken) {
    let mut scheduler = Scheduler { ctx, put_off: HashMap::new(), watch: Watch::default() };
    let mut wait = PAUSE;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = match tokio::time::timeout(PATIENCE, scheduler.work(&stop)).await {
            Ok(Ok(wait)) => wait,
            Ok(Err(error)) => {
                tracing::warn!(error = %shared::telemetry::Causes(&error), "the scheduler failed and tries again");
                TICK
            }
            Err(_) => {
                tracing::warn!("the scheduler took too long and tries again");
                PAUSE
            }
        };
    }
}

struct Scheduler {
    ctx: Arc<Context>,
    /// Schedules that could not be worked on, and until when they are left alone.
    put_off: HashMap<ScheduleId, Instant>,
    watch: Watch,
}

impl Scheduler {
    /// Works until nothing is due, and says how long to sleep.
    async fn work(&mut self, stop: &CancellationToken) -> Result<Duration, DbError> {
        let now = Instant::now();
        self.put_off.retain(|_, until| *until > now);
        while !stop.is_cancelled() {
            let except: Vec<_> = self.put_off.keys().copied().collect();
            match round(&self.ctx, &except).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(Failed { schedule: Some(id), error }) if !error.is_transient() => {
                    tracing::error!(schedule.id = %id, error = %shared::telemetry::Causes(&error), "a schedule is left alone for a while");
                    self.put_off.insert(id, Instant::now() + PUT_OFF);
                }
                Err(Failed { error, .. }) => {
                    // Two that wait for each other's targets: one of them begins anew.
                    tracing::debug!(error = %shared::telemetry::Causes(&error), "a round of the scheduler begins anew");
                    return Ok(PAUSE);
                }
            }
        }
        self.watch.look(&self.ctx).await?;
        let due_in = slots::due_in(&mut *self.ctx.pool.acquire().await?).await?;
        let due_in = due_in.map_or(TICK, |s| Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(TICK));
        Ok(due_in.clamp(PAUSE, TICK))
    }
}
