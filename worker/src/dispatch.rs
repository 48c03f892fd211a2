//! Hints → claims. apalis carries the wake-up (this is the worker's only file that knows it); PostgreSQL's rows decide.
//!
//! A hint says only "look". apalis workers die of any database error and know no backoff, so a loop starts them anew
//! under a fresh name each time, and no job ever runs inside one: they ring a bell, and the claim loop looks.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apalis::prelude::{BackendExt, WorkerBuilder, WorkerContext};
use apalis_postgres::{Config, PostgresStorage};
use shared::{
    db::{
        self,
        claim::{self, Fence},
        jobs::JobRow,
    },
    id::JobId,
    queue::{Hint, QUEUE},
    shutdown::Shutdown,
};
use sqlx::PgPool;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    context::Context,
    lease::{Lease, Stop},
    runner,
    transfer::upload::Upload,
};

/// After a look that found nothing no hint makes it look again before this time is over: hints come one for each job, also
/// for those of other groups and of targets that are worked on.
const PACE: Duration = Duration::from_millis(50);
/// After a failure that is likely to last a moment.
const PAUSE: Duration = Duration::from_millis(500);

/// The claiming half of a worker: slots, the bell, and the jobs that run here.
#[derive(Debug)]
pub struct Dispatch {
    ctx: Arc<Context>,
    shutdown: Shutdown,
    /// Unique per start; stands in `jobs.lease_owner`.
    name: String,
    groups: Vec<String>,
    bell: Notify,
    slots: Arc<Semaphore>,
    running: Mutex<HashMap<JobId, Arc<Lease>>>,
}

impl Dispatch {
    pub fn new(ctx: Arc<Context>, shutdown: Shutdown, name: String) -> Arc<Self> {
        let groups = ctx.settings.groups.iter().map(ToString::to_string).collect();
        let slots = Arc::new(Semaphore::new(ctx.settings.slots));
        Arc::new(Self { ctx, shutdown, name, groups, bell: Notify::new(), slots, running: Mutex::default() })
    }

    /// Starts the three loops: claims, hints, and notifications.
    pub fn start(self: &Arc<Self>, pool: PgPool) {
        let tasks = self.shutdown.tasks();
        let this = Arc::clone(self);
        tasks.spawn(async move { this.claim().await });
        let this = Arc::clone(self);
        let hints = pool.clone();
        tasks.spawn(async move { this.hints(hints).await });
        let this = Arc::clone(self);
        // Not tracked: cancels must be heard for as long as jobs run, and nothing waits for it.
        tokio::spawn(async move { this.notifications(pool).await });
    }

    /// Claims the best job for every free slot, whenever the bell rings and at least every poll interval.
    async fn claim(self: Arc<Self>) {
        let soft = self.shutdown.soft().clone();
        let mut may_look = Instant::now();
        while !soft.is_cancelled() {
            tokio::select! {
                () = soft.cancelled() => return,
                () = self.bell.notified() => {}
                () = tokio::time::sleep(self.ctx.settings.poll) => {}
            }
            soft.run_until_cancelled(tokio::time::sleep_until(may_look)).await;
            while !soft.is_cancelled() {
                let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else { break };
                let claimed = Instant::now();
                let found = async {
                    let mut conn = self.ctx.pool.acquire().await?;
                    claim::claim(&mut conn, &self.name, &self.groups, self.ctx.settings.lease).await
                };
                match found.await {
                    Ok(Some(row)) => {
                        let lease = Arc::new(Lease::new(Fence { job: row.id, epoch: row.epoch }));
                        self.running().insert(row.id, Arc::clone(&lease));
                        let this = Arc::clone(&self);
                        self.shutdown.tasks().spawn(async move {
                            let (id, hard) = (row.id, this.shutdown.hard().clone());
                            runner::run(Arc::clone(&this.ctx), lease, row, claimed, hard, None).await;
                            this.running().remove(&id);
                            drop(slot);
                            this.bell.notify_one();
                        });
                    }
                    Ok(None) => {
                        may_look = Instant::now() + PACE;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(error = %shared::telemetry::Causes(&error), "claiming failed and is tried again");
                        tokio::time::sleep(PAUSE).await;
                        break;
                    }
                }
            }
        }
    }

    /// What leases call this worker.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A free slot, waited for so long at most.
    pub async fn slot(&self, patience: Duration) -> Option<OwnedSemaphorePermit> {
        tokio::time::timeout(patience, Arc::clone(&self.slots).acquire_owned()).await.ok()?.ok()
    }

    /// Runs a job that was claimed here for an upload, to its end. `claimed` is an instant before that.
    pub async fn carry(&self, row: JobRow, claimed: Instant, upload: Upload, slot: OwnedSemaphorePermit) {
        let lease = Arc::new(Lease::new(Fence { job: row.id, epoch: row.epoch }));
        self.running().insert(row.id, Arc::clone(&lease));
        let (id, hard) = (row.id, self.shutdown.hard().clone());
        runner::run(Arc::clone(&self.ctx), lease, row, claimed, hard, Some(upload)).await;
        self.running().remove(&id);
        drop(slot);
        self.bell.notify_one();
    }

    /// Hears apalis' hints. Full workers pass them on, so that an idle one looks at once.
    async fn hints(self: Arc<Self>, pool: PgPool) {
        let soft = self.shutdown.soft().clone();
        while !soft.is_cancelled() {
            let name = format!("{QUEUE}-{}", uuid::Uuid::now_v7().simple());
            let config = Config::default()
                .queue(QUEUE)
                .batch_size(1)
                .heartbeat_interval(Duration::from_secs(5))
                .missed_heartbeats(6)
                .lock_tasks(false);
            let backend = PostgresStorage::<Hint>::new(&pool)
                .with_config(config)
                .with_pubsub()
                .poll_with_interval(Duration::from_secs(2));
            let this = Arc::clone(&self);
            let handler = move |_: Hint| {
                let this = Arc::clone(&this);
                async move { this.hear().await }
            };
            let worker = WorkerBuilder::new(WorkerContext::new(&name)).backend(backend).build(handler);
            let stop = soft.clone();
            let ended = worker
                .run_until(async move {
                    stop.cancelled().await;
                    Ok::<(), std::io::Error>(())
                })
                .await;
            if let Err(error) = ended {
                tracing::warn!(error = error.to_string(), "the hint worker ended and is started anew");
            }
            tokio::select! {
                () = soft.cancelled() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn hear(&self) {
        if self.slots.available_permits() > 0 {
            return self.bell.notify_one();
        }
        let passed = async {
            let mut conn = self.ctx.pool.acquire().await?;
            db::notify::look(&mut conn).await
        };
        if let Err(error) = passed.await {
            tracing::debug!(error = %shared::telemetry::Causes(&error), "a hint was not passed on; the others poll");
        }
    }

    /// Hears what the tables say: look, and cancel. Lost while the connection is, which polling and beats make up for.
    async fn notifications(self: Arc<Self>, pool: PgPool) {
        let stop = self.shutdown.hard().clone();
        while !stop.is_cancelled() {
            let heard = async {
                let mut notes = db::notify::Notes::listen(&pool).await?;
                self.bell.notify_one();
                loop {
                    match notes.next().await? {
                        db::notify::Note::Look => self.bell.notify_one(),
                        db::notify::Note::Cancel(job) => {
                            if let Some(lease) = self.running().get(&job) {
                                lease.stop(Stop::Cancelled);
                            }
                        }
                    }
                }
            };
            let ended: Result<std::convert::Infallible, db::DbError> = tokio::select! {
                () = stop.cancelled() => return,
                ended = heard => ended,
            };
            let Err(error) = ended;
            tracing::warn!(error = %shared::telemetry::Causes(&error), "listening ended and is started anew");
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Arc<Lease>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
