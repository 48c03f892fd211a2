//! What handlers share. Clones are cheap.

use std::sync::Arc;

use shared::{
    config::{Http, Jobs, Transfer},
    id::JobId,
    name::Slug,
    secret::PublicKey,
};
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{admin_id::AdminIds, known::Known, password::Passwords, token::Tokens},
    limits::{PerMinute, rate::Rates},
    platform::Platform,
    stream::Streams,
    transfer::Workers,
};

#[derive(Debug, Clone)]
pub struct AppState {
    pub pool: PgPool,
    pub tokens: Tokens,
    pub passwords: Passwords,
    /// Who was looked up just now.
    pub known: Known,
    /// The second factor, where it is on.
    pub admin_ids: AdminIds,
    /// What credentials are sealed to. The private half is not here.
    pub seal_to: Arc<PublicKey>,
    pub http: Arc<Http>,
    /// The declared stores; empty where the API was not told of any.
    pub stores: Arc<[Slug]>,
    pub session_life_s: f64,
    /// The longest that an API token may live, in days.
    pub api_token_days: u32,
    /// What holds for jobs as they are enqueued.
    pub jobs: Arc<Jobs>,
    /// Jobs as they end.
    pub ended: broadcast::Sender<JobId>,
    /// The platform's identity service; none: this installation has none.
    pub platform: Option<Arc<Platform>>,
    /// Every setting and where it came from, without secrets.
    pub effective: Arc<serde_json::Value>,
    /// The answers that go on.
    pub streams: Streams,
    /// Cancelled when the process is to end: streams end then.
    pub stopping: CancellationToken,
    /// How many refused tokens are audited.
    pub refusals: Arc<PerMinute>,
    /// How often each caller has asked lately.
    pub rates: Arc<Rates>,
    /// What runs beside the requests and is waited for at the end.
    pub tracker: TaskTracker,
    /// Cancelled when what runs beside the requests has to end.
    pub stop: CancellationToken,
    /// The way to the workers' own ports.
    pub workers: Workers,
    pub transfer: Arc<Transfer>,
}
