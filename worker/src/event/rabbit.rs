//! `RabbitMQ` as the sink of events: a durable topic exchange, publisher confirms, and a bounded queue for what nobody
//! is bound for.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    tcp::OwnedTLSConfig,
    types::{AMQPValue, FieldTable, ShortString},
    uri::AMQPUri,
};
use secrecy::{ExposeSecret, SecretString};
use shared::{
    event::{CONTENT_TYPE, Outgoing},
    failpoint,
    id::InstallationId,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::{EventError, EventSink, Published};

/// How long connecting and declaring may take, and how long the broker may take to confirm a window.
const PATIENCE: Duration = Duration::from_secs(10);

/// AMQP's delivery mode of a message that survives the broker's restart.
const PERSISTENT: u8 = 2;

/// Where the broker is, and what is declared there.
#[derive(Debug, Clone)]
pub struct Rabbit {
    pub url: SecretString,
    /// PEM of the only authorities that are trusted for `amqps://`.
    pub ca_pem: Option<String>,
    /// Durable topic exchange.
    pub exchange: String,
    /// Name of the fanout exchange and its queue for what nobody is bound for.
    pub unrouted: String,
    /// Bound of that queue; beyond it the oldest events are dropped. A broker refuses a changed bound until the queue
    /// is deleted, and events wait meanwhile.
    pub unrouted_max_bytes: u64,
    /// Stands in each event's `source`.
    pub installation: InstallationId,
}

/// Publishes to `RabbitMQ`.
#[derive(Debug)]
pub struct RabbitSink {
    settings: Rabbit,
    link: Option<Link>,
}

/// A channel in confirm mode, on a connection that has declared everything.
#[derive(Debug)]
struct Link {
    connection: Connection,
    channel: Channel,
}

impl RabbitSink {
    /// Does not connect yet: the first window does.
    #[must_use]
    pub fn new(settings: Rabbit) -> Self {
        Self { settings, link: None }
    }

    async fn connected(&mut self) -> Result<Link, EventError> {
        if let Some(link) =
            self.link.take().filter(|link| link.connection.status().connected() && link.channel.status().connected())
        {
            return Ok(link);
        }
        timeout(PATIENCE, self.connect()).await.map_err(|_| EventError::ConnectTimeout(PATIENCE.as_secs()))?
    }

    async fn connect(&self) -> Result<Link, EventError> {
        // Parsed here, its error dropped: that text may hold the password.
        let uri: AMQPUri = self.settings.url.expose_secret().parse().map_err(|_| EventError::Url)?;
        // No recovery by the library: it would re-send on its own, beside the outbox.
        let properties = ConnectionProperties::default().with_connection_name("holdfast-relay".into());
        let tls = OwnedTLSConfig { cert_chain: self.settings.ca_pem.clone(), ..OwnedTLSConfig::default() };
        let runtime = lapin::runtime::default_runtime().map_err(EventError::Connect)?;
        let connection =
            Connection::connect_uri_with_config(uri, properties, tls, runtime).await.map_err(EventError::Connect)?;
        let channel = connection.create_channel().await.map_err(EventError::Connect)?;
        self.declare(&channel).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(EventError::Declare)?;
        Ok(Link { connection, channel })
    }

    async fn declare(&self, channel: &Channel) -> Result<(), EventError> {
        let Rabbit { exchange, unrouted, unrouted_max_bytes, .. } = &self.settings;
        let (exchange, unrouted) = (short("exchange", exchange)?, short("exchange", unrouted)?);
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };

        let mut bounds = FieldTable::default();
        let bytes = i64::try_from(*unrouted_max_bytes).unwrap_or(i64::MAX);
        bounds.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(bytes));
        bounds.insert("x-overflow".into(), AMQPValue::LongString("drop-head".into()));
        let mut alternate = FieldTable::default();
        alternate.insert("alternate-exchange".into(), AMQPValue::LongString(unrouted.to_string().into()));

        let declared = async {
            // The place for what nobody is bound for comes first, so that no event finds the exchange without it.
            channel.exchange_declare(unrouted.clone(), ExchangeKind::Fanout, durable, FieldTable::default()).await?;
            channel.queue_declare(unrouted.clone(), QueueDeclareOptions::durable(), bounds).await?;
            channel
                .queue_bind(unrouted.clone(), unrouted, "".into(), QueueBindOptions::default(), FieldTable::default())
                .await?;
            channel.exchange_declare(exchange, ExchangeKind::Topic, durable, alternate).await
        };
        declared.await.map_err(EventError::Declare)
    }

    async fn send(&self, link: &Link, event: &Outgoing) -> Result<lapin::PublisherConfirm, EventError> {
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type(CONTENT_TYPE.into())
            .with_message_id(event.id.to_string().into())
            .with_type(short("type", &event.kind)?);
        let body = event.to_cloud_event(self.settings.installation).to_string();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        link.channel
            .basic_publish(
                short("exchange", &self.settings.exchange)?,
                short("type", &event.kind)?,
                options,
                body.as_bytes(),
                properties,
            )
            .await
            .map_err(EventError::Send)
    }
}

#[async_trait]
impl EventSink for RabbitSink {
    async fn open(&mut self) -> Result<(), EventError> {
        self.link = Some(self.connected().await?);
        Ok(())
    }

    async fn publish(&mut self, window: &[Outgoing]) -> Vec<Result<Published, EventError>> {
        let link = match self.connected().await {
            Ok(link) => link,
            Err(error) => return window.iter().map(|_| Err(error.clone())).collect(),
        };
        if link.connection.status().blocked() {
            // Kept: a new connection would not know that it is blocked before it had sent something.
            self.link = Some(link);
            return window.iter().map(|_| Err(EventError::Blocked)).collect();
        }
        let deadline = Instant::now() + PATIENCE;
        let late = || EventError::ConfirmTimeout(PATIENCE.as_secs());
        let mut sent = Vec::with_capacity(window.len());
        for event in window {
            sent.push(timeout_at(deadline, self.send(&link, event)).await.unwrap_or_else(|_| Err(late())));
        }
        failpoint!("relay.publish.sent");
        let answers = sent.into_iter().map(|sent| async move {
            let answer = timeout_at(deadline, sent?).await.map_err(|_| late())?;
            judge(answer.map_err(EventError::Confirm)?)
        });
        let results = join_all(answers).await;
        // After any failure everything is built and declared anew: a queue may be gone, a channel may be half dead.
        // A blocked connection is kept, or each try would add a connection to a broker that is short of memory.
        if results.iter().all(Result::is_ok) || link.connection.status().blocked() {
            self.link = Some(link);
        }
        results
    }
}

/// Only an acknowledgement without a returned message says that a queue has the event, on disk.
fn judge(answer: Confirmation) -> Result<Published, EventError> {
    match answer {
        Confirmation::Ack(None) => Ok(Published { routed: None }),
        Confirmation::Ack(Some(returned)) => Err(EventError::Returned(returned.reply_text.to_string())),
        Confirmation::Nack(_) => Err(EventError::Refused),
        Confirmation::NotRequested => Err(EventError::Unconfirmed),
    }
}

fn short(what: &'static str, text: &str) -> Result<ShortString, EventError> {
    ShortString::try_new(text).map_err(|_| EventError::TooLong(what))
}
