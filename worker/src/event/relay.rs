//! The relay: of all workers' relays one is active, by a session's advisory lock. It gives each fact its place in the
//! history, publishes in that order and marks what is published.

use std::{collections::HashSet, fmt, time::Duration};

use futures_util::FutureExt as _;
use secrecy::{ExposeSecret, SecretString};
use shared::{
    db::{
        DbError,
        outbox::{self, Hints},
    },
    event::Outgoing,
    failpoint,
    telemetry::Causes,
};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::EventSink;

/// At most so many events are in flight.
const WINDOW: i64 = 200;

/// Looks that hints ask for are at least so far apart: under load a look finds what many hints told of.
const PACE: Duration = Duration::from_millis(50);

/// How long one statement may take before the connection, and with it the lock, is given up.
const STATEMENT: Duration = Duration::from_secs(30);

/// How often things are tried.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Between two tries to become the active one.
    pub standby: Duration,
    /// Between two looks at the outbox when no hint comes.
    pub scan: Duration,
    /// The first pause after a failure; it doubles up to `longest_pause`.
    pub pause: Duration,
    pub longest_pause: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            standby: Duration::from_secs(5),
            scan: Duration::from_secs(5),
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// A relay of one process.
pub struct Relay {
    url: SecretString,
    sink: Box<dyn EventSink>,
    timing: Timing,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("timing", &self.timing).finish_non_exhaustive()
    }
}

impl Relay {
    /// `url` is that of Holdfast's own database, without a pooler between that shares sessions.
    #[must_use]
    pub fn new(url: SecretString, sink: Box<dyn EventSink>, timing: Timing) -> Self {
        Self { url, sink, timing }
    }

    /// Stands by or relays until `soft`; a window in flight then is still finished, at most about 20 s.
    pub async fn run(mut self, soft: CancellationToken) {
        while !soft.is_cancelled() {
            if let Err(error) = self.session(&soft).await {
                tracing::warn!(error = %Causes(&error), "the relay lost its database session and stands by");
                rest(&soft, self.timing.standby).await;
            }
        }
    }

    /// One database session: the lock lives and dies with it, and nothing is published that it has not just read.
    async fn session(&mut self, soft: &CancellationToken) -> Result<(), DbError> {
        let url = self.url.expose_secret();
        let Some(connected) = soft.run_until_cancelled(bounded(outbox::connect_relay(url))).await else {
            return Ok(());
        };
        let mut conn = connected?;
        while !bounded(outbox::try_lead(&mut conn)).await? {
            if rest(soft, self.timing.standby).await {
                return Ok(());
            }
        }
        let mut hints = bounded(Hints::listen(self.url.expose_secret())).await?;
        tracing::info!("this worker's relay is the active one");
        if let Err(error) = self.sink.open().await {
            // The first window tries again, and its rows say what failed.
            tracing::warn!(error = %Causes(&error), "the place where events go cannot be opened yet");
        }
        self.relay(&mut conn, &mut hints, soft).await?;
        bounded(async { Ok(conn.close().await?) }).await
    }

    async fn relay(
        &mut self,
        conn: &mut PgConnection,
        hints: &mut Hints,
        soft: &CancellationToken,
    ) -> Result<(), DbError> {
        let mut retry: Option<(Instant, Duration)> = None;
        while !soft.is_cancelled() {
            let looked = Instant::now();
            // The history goes on while the broker is away: its readers need the places, not the broker.
            let more = bounded(outbox::sequence(conn)).await? > 0;
            let now = Instant::now();
            if retry.is_none_or(|(at, _)| at <= now) {
                match self.window(conn).await? {
                    Outcome::Progress { is_full } => {
                        retry = None;
                        if !is_full {
                            soft.run_until_cancelled(sleep_until(looked + PACE)).await;
                        }
                        continue;
                    }
                    Outcome::Idle => retry = None,
                    Outcome::Stuck => {
                        let pause =
                            retry.map_or(self.timing.pause, |(_, last)| (last * 2).min(self.timing.longest_pause));
                        retry = Some((Instant::now() + pause, pause));
                    }
                }
            }
            if more {
                continue;
            }
            let scan = Instant::now() + self.timing.scan;
            let wake = retry.map_or(scan, |(at, _)| at.min(scan));
            tokio::select! {
                () = soft.cancelled() => {}
                hint = hints.next() => {
                    hint?;
                    soft.run_until_cancelled(sleep_until(looked + PACE)).await;
                    while let Some(hint) = hints.next().now_or_never() {
                        hint?;
                    }
                }
                () = sleep_until(wake) => {}
            }
        }
        Ok(())
    }

    async fn window(&mut self, conn: &mut PgConnection) -> Result<Outcome, DbError> {
        let rows = bounded(outbox::unpublished(conn, WINDOW)).await?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == WINDOW);
        let window = first_of_each(rows);
        if window.is_empty() {
            return Ok(Outcome::Idle);
        }
        failpoint!("relay.publish.before");
        let results = self.sink.publish(&window).await;
        failpoint!("relay.publish.after");
        let (mut published, mut failed) = (Vec::new(), Vec::new());
        let mut first_error = None;
        for (event, result) in window.iter().zip(results) {
            match result {
                Ok(done) => published.push((event.id, done.routed)),
                Err(error) => {
                    failed.push((event.id, Causes(&error).to_string()));
                    first_error.get_or_insert(error);
                }
            }
        }
        if let Some(error) = first_error {
            tracing::warn!(
                error = %Causes(&error),
                events = failed.len(),
                "events were not published and are kept"
            );
            bounded(outbox::mark_failed(conn, &failed)).await?;
        }
        if published.is_empty() {
            return Ok(Outcome::Stuck);
        }
        bounded(outbox::mark_published(conn, &published)).await?;
        failpoint!("relay.mark.after");
        Ok(Outcome::Progress { is_full })
    }
}

enum Outcome {
    /// There was nothing to publish.
    Idle,
    /// Something was published: there may be more, and is where the window was full.
    Progress { is_full: bool },
    /// Nothing could be published.
    Stuck,
}

/// The events that may fly together: the first of each aggregate, so that none overtakes another of its own.
fn first_of_each(mut rows: Vec<Outgoing>) -> Vec<Outgoing> {
    let mut seen = HashSet::new();
    rows.retain(|event| seen.insert(event.aggregate.clone()));
    rows
}

/// Waits; true if the shutdown came first.
async fn rest(soft: &CancellationToken, time: Duration) -> bool {
    soft.run_until_cancelled(sleep(time)).await.is_none()
}

/// A server that does not answer any more counts as lost.
async fn bounded<T>(call: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    let silent = || DbError::Sql(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
    timeout(STATEMENT, call).await.unwrap_or_else(|_| Err(silent()))
}
