//! What handlers share. Clones are cheap.

use std::sync::Arc;

use shared::{
    config::{Http, Jobs},
    id::JobId,
    name::Slug,
    secret::PublicKey,
};
use sqlx::PgPool;
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

use crate::{
    auth::{password::Passwords, token::Tokens},
    limits::PerMinute,
    platform::Platform,
};

#[derive(Debug, Clone)]
pub struct AppState {
    pub pool: PgPool,
    pub tokens: Tokens,
    pub passwords: Passwords,
    /// What credentials are sealed to. The private half is not here.
    pub seal_to: Arc<PublicKey>,
    pub http: Arc<Http>,
    /// The declared stores; empty where the API was not told of any.
    pub stores: Arc<[Slug]>,
    pub session_life_s: f64,
    /// What holds for jobs as they are enqueued.
    pub jobs: Arc<Jobs>,
    /// Jobs as they end.
    pub ended: broadcast::Sender<JobId>,
    /// The platform's identity service; none: this installation has none.
    pub platform: Option<Arc<Platform>>,
    /// How many refused tokens are audited.
    pub refusals: Arc<PerMinute>,
    /// What runs beside the requests and is waited for at the end.
    pub tracker: TaskTracker,
}
