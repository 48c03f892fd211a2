//! What handlers share. Clones are cheap.

use std::sync::Arc;

use shared::{config::Http, id::JobId, name::Slug, secret::PublicKey};
use sqlx::PgPool;
use tokio::sync::broadcast;

use crate::auth::{password::Passwords, token::Tokens};

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
    /// `jobs.attempts` of the configuration.
    pub attempts: i32,
    /// Jobs as they end.
    pub ended: broadcast::Sender<JobId>,
}
