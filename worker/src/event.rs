//! record → event: the relay takes facts from the outbox and hands them to a sink (design §9).

pub mod rabbit;
pub mod relay;

use async_trait::async_trait;
use secrecy::SecretString;
use shared::{
    config::{Config, EventMode},
    event::Outgoing,
    id::InstallationId,
    shutdown::Shutdown,
};

use rabbit::{Rabbit, RabbitSink};
use relay::{Relay, Timing};

/// What is known of an event that the sink has taken over for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether somebody was bound for it; `None` where the sink cannot tell (a broker confirms a parked event exactly
    /// as it confirms a routed one).
    pub routed: Option<bool>,
}

/// Why an event was not published. It stays in the outbox.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EventError {
    #[error("events.url is not set or not an AMQP URL")]
    Url,
    #[error("the broker could not be reached within {0} s")]
    ConnectTimeout(u64),
    #[error("no connection to the broker")]
    Connect(#[source] lapin::Error),
    #[error("the exchanges and the queue of events could not be declared")]
    Declare(#[source] lapin::Error),
    #[error("the event's {0} is longer than the 255 bytes that AMQP allows")]
    TooLong(&'static str),
    #[error("the event was not sent")]
    Send(#[source] lapin::Error),
    #[error("the connection was lost before the broker's answer")]
    Confirm(#[source] lapin::Error),
    #[error("the broker did not answer within {0} s")]
    ConfirmTimeout(u64),
    #[error("the broker has no queue for it: {0}")]
    Returned(String),
    #[error("the broker refused it")]
    Refused,
    #[error("the broker takes no messages now (out of memory or disk)")]
    Blocked,
    #[error("the channel does not confirm")]
    Unconfirmed,
}

impl EventError {
    /// Whether trying again cannot help. The relay tries again all the same, as a fact is never dropped; the event
    /// holds up only what comes after it in its own aggregate.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Url | Self::TooLong(_))
    }
}

/// Where events go. It rebuilds its own connection at the call after a failure; the relay sees to the pauses.
#[async_trait]
pub trait EventSink: Send {
    /// Makes the place where events go, before there are any: whoever wants them can bind to it then.
    async fn open(&mut self) -> Result<(), EventError>;

    /// Publishes a window of at most one event per aggregate, in its order, and answers for each, in the same order.
    /// `Ok` only when the other side has taken over responsibility. Bounded in time.
    async fn publish(&mut self, window: &[Outgoing]) -> Vec<Result<Published, EventError>>;
}

/// `events.mode = "off"`: the history is kept, nothing is published.
#[derive(Debug)]
struct Nowhere;

#[async_trait]
impl EventSink for Nowhere {
    async fn open(&mut self) -> Result<(), EventError> {
        Ok(())
    }

    async fn publish(&mut self, window: &[Outgoing]) -> Vec<Result<Published, EventError>> {
        window.iter().map(|_| Ok(Published { routed: None })).collect()
    }
}

/// Starts the relay as a task that ends at the soft shutdown. It connects, and reconnects, by itself: neither an absent
/// broker nor an absent database is an error here.
pub fn start(config: &Config, installation: InstallationId, shutdown: &Shutdown) {
    let sink: Box<dyn EventSink> = match config.events.mode {
        EventMode::Off => Box::new(Nowhere),
        EventMode::RabbitMq => Box::new(RabbitSink::new(Rabbit {
            url: config.events.url.clone().unwrap_or_default(),
            ca_pem: config.events.ca_pem.clone(),
            exchange: config.events.exchange.clone(),
            unrouted: config.events.unrouted.clone(),
            unrouted_max_bytes: config.events.unrouted_max_bytes,
            installation,
        })),
    };
    let url: SecretString = config.database.url.clone().unwrap_or_default();
    shutdown.tasks().spawn(Relay::new(url, sink, Timing::default()).run(shutdown.soft().clone()));
}
