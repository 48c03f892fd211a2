//! Wiring: from a configuration to a router. Tests build the same.

use std::{sync::Arc, time::Duration};

use secrecy::ExposeSecret;
use shared::{
    config::{Config, ConfigErrors, Mode},
    db::{DbError, job_done, pool},
};
use tokio::sync::broadcast;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{
        admin_id::AdminIds,
        known::Known,
        password::{PasswordError, Passwords},
        token::Tokens,
    },
    limits::{
        PerMinute,
        rate::{self, Rates},
        slow::{Peer, Timed},
    },
    platform::{Platform, PlatformError},
    routes,
    state::AppState,
    stream::Streams,
    transfer::Workers,
};

const AUDITED_REFUSALS_A_MINUTE: u32 = 60;

/// Why the API did not start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("database.url is not a URL that can be used")]
    Url(#[source] DbError),
    #[error("passwords cannot be hashed here")]
    Passwords(#[from] PasswordError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error("there is no randomness here")]
    Random(#[source] ring::error::Unspecified),
    #[error("workers cannot be spoken to")]
    Workers(#[from] reqwest::Error),
}

impl BuildError {
    /// Nothing here goes away by trying again.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        true
    }
}

/// In dev a session lasts as long as its one token, which nothing renews.
fn session_life(config: &Config) -> Duration {
    let auth = &config.auth;
    if config.http.mode == Mode::Dev { auth.session.max(auth.dev_access) } else { auth.session }
}

/// The API, ready to be served.
#[derive(Debug)]
pub struct App {
    pub router: axum::Router,
    pub state: AppState,
    cancel: CancellationToken,
}

impl App {
    /// Connects to nothing yet: the database may come later, readiness tells.
    pub fn build(config: &Config) -> Result<Self, BuildError> {
        config.for_api()?;
        let url = config.database.url.as_ref().map_or("", |url| url.expose_secret());
        let pool =
            pool::connect_later(url, config.database.max_connections, "holdfast-api").map_err(BuildError::Url)?;
        let Some(public_key) = &config.secrets.public_key else { return Err(ConfigErrors(Vec::new()).into()) };
        let admin_ids = AdminIds::new(config.auth.admin_ids.as_ref()).map_err(BuildError::Random)?;
        let (ended, _) = broadcast::channel(1024);
        let cancel = CancellationToken::new();
        let state = AppState {
            pool: pool.clone(),
            tokens: Tokens::new(&config.auth, config.http.mode),
            passwords: Passwords::new()?,
            known: Known::default(),
            admin_ids: admin_ids.clone(),
            seal_to: Arc::new(public_key.clone()),
            http: Arc::new(config.http.clone()),
            stores: config.stores.keys().cloned().collect(),
            session_life_s: session_life(config).as_secs_f64(),
            api_token_days: config.auth.api_token_days,
            jobs: Arc::new(config.jobs.clone()),
            ended: ended.clone(),
            platform: Platform::new(&config.platform)?.map(Arc::new),
            effective: Arc::new(config.effective()),
            streams: Streams::default(),
            stopping: CancellationToken::new(),
            refusals: Arc::new(PerMinute::new(AUDITED_REFUSALS_A_MINUTE)),
            rates: Arc::new(Rates::new(&config.http.limits)),
            tracker: TaskTracker::new(),
            stop: cancel.clone(),
            workers: Workers::new(config.transfer.stall)?,
            transfer: Arc::new(config.transfer.clone()),
        };
        state.tracker.spawn(job_done::forward(pool, ended, cancel.clone()));
        state.tracker.spawn(rate::forget_idle(state.clone(), cancel.clone()));
        state.tracker.spawn(admin_ids.follow(cancel.clone()));
        Ok(Self { router: routes::router(&state), state, cancel })
    }

    /// Serves until `stop` is cancelled; requests under way are finished, within the time a request may take.
    pub async fn serve(self, listener: tokio::net::TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let service = self.router.clone().into_make_service_with_connect_info::<Peer>();
        let listener = Timed::new(listener, self.state.http.limits.head);
        let grace = self.state.http.request_timeout;
        let (asked, stopping) = (stop.clone(), self.state.stopping.clone());
        let served = axum::serve(listener, service).with_graceful_shutdown(async move {
            asked.cancelled().await;
            stopping.cancel();
        });
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
        self.state.tracker.close();
        self.state.tracker.wait().await;
        self.state.pool.close().await;
    }
}
