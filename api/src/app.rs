//! Wiring: from a configuration to a router. Tests build the same.

use std::sync::Arc;

use secrecy::ExposeSecret;
use shared::{
    config::{Config, ConfigErrors},
    db::{DbError, job_done, pool},
};
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{
        password::{PasswordError, Passwords},
        token::Tokens,
    },
    routes,
    state::AppState,
};

/// Why the API did not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("database.url is not a URL that can be used")]
    Url(#[source] DbError),
    #[error("passwords cannot be hashed here")]
    Passwords(#[from] PasswordError),
}

impl BuildError {
    /// Nothing here goes away by trying again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        true
    }
}

/// The API, ready to be served.
#[derive(Debug)]
pub struct App {
    pub router: axum::Router,
    pub state: AppState,
    cancel: CancellationToken,
    tracker: TaskTracker,
}

impl App {
    /// Connects to nothing yet: the database may come later, readiness tells.
    pub fn build(config: &Config) -> Result<Self, BuildError> {
        config.for_api()?;
        let url = config.database.url.as_ref().map_or("", |url| url.expose_secret());
        let pool =
            pool::connect_later(url, config.database.max_connections, "holdfast-api").map_err(BuildError::Url)?;
        let Some(public_key) = &config.secrets.public_key else { return Err(ConfigErrors(Vec::new()).into()) };
        let (ended, _) = broadcast::channel(1024);
        let state = AppState {
            pool: pool.clone(),
            tokens: Tokens::new(&config.auth, config.http.mode),
            passwords: Passwords::new()?,
            seal_to: Arc::new(public_key.clone()),
            http: Arc::new(config.http.clone()),
            stores: config.stores.keys().cloned().collect(),
            session_life_s: config.auth.session.as_secs_f64(),
            attempts: config.jobs.attempts,
            ended: ended.clone(),
        };
        let (cancel, tracker) = (CancellationToken::new(), TaskTracker::new());
        tracker.spawn(job_done::forward(pool, ended, cancel.clone()));
        Ok(Self { router: routes::router(&state), state, cancel, tracker })
    }

    /// Serves until `stop` is cancelled; requests under way are finished, within the time a request may take.
    pub async fn serve(self, listener: tokio::net::TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let service = self.router.clone().into_make_service_with_connect_info::<std::net::SocketAddr>();
        let grace = self.state.http.request_timeout;
        let asked = stop.clone();
        let served = axum::serve(listener, service).with_graceful_shutdown(async move { asked.cancelled().await });
        let over = async {
            stop.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        let result = tokio::select! { result = served => result, () = over => Ok(()) };
        self.close().await;
        result
    }

    /// Ends what runs beside the requests.
    pub async fn close(self) {
        self.cancel.cancel();
        self.tracker.close();
        self.tracker.wait().await;
        self.state.pool.close().await;
    }
}
