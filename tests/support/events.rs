//! A consumer of events at the real broker, as another service would be.

mod listener;

use futures_util::StreamExt;
use lapin::{
    Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;

use crate::{stack, wait::PATIENCE};

pub use listener::Listener;

/// One message, as it arrived.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub routing_key: String,
    pub message_id: String,
    pub content_type: String,
    /// 2 is persistent.
    pub delivery_mode: u8,
    pub redelivered: bool,
    /// The `CloudEvents` JSON.
    pub body: Value,
}

/// A queue bound to an exchange of the relay's.
#[derive(Debug)]
pub struct Subscription {
    pub queue: String,
    exchange: String,
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
}

impl Subscription {
    /// A queue for what matches `pattern`. Declares the exchange as the relay does, so that either may come first.
    pub async fn open(exchange: &str, pattern: &str) -> Self {
        let connection = connect().await;
        let channel = connection.create_channel().await.unwrap();
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let mut alternate = FieldTable::default();
        alternate.insert("alternate-exchange".into(), AMQPValue::LongString(format!("{exchange}.unrouted").into()));
        channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, alternate).await.unwrap();
        let queue = stack::fresh("consumer");
        channel
            .queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), FieldTable::default())
            .await
            .unwrap();
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(queue.as_str().into(), exchange.into(), pattern.into(), bind, FieldTable::default())
            .await
            .unwrap();
        let consumer = consume(&channel, &queue).await.unwrap();
        Self { queue, exchange: exchange.to_owned(), connection, channel, consumer }
    }

    /// Whether somebody has declared the exchange.
    pub async fn exchange_exists(exchange: &str) -> bool {
        let connection = connect().await;
        let channel = connection.create_channel().await.unwrap();
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let declared =
            channel.exchange_declare(exchange.into(), ExchangeKind::Topic, passive, FieldTable::default()).await;
        connection.close(200, "done".into()).await.unwrap();
        declared.is_ok()
    }

    /// What the relay parks because nobody is bound for it.
    pub async fn unrouted(exchange: &str) -> Self {
        Self::resume(exchange, &format!("{exchange}.unrouted")).await
    }

    /// The next message, acknowledged.
    pub async fn next(&mut self) -> Delivery {
        let next = tokio::time::timeout(PATIENCE, self.consumer.next()).await.expect("no event came in time");
        let delivery = next.expect("the broker ended the consumer").unwrap();
        delivery.ack(BasicAckOptions::default()).await.unwrap();
        self::delivery(&delivery)
    }

    /// Messages until one is as wanted, that one the last.
    pub async fn until(&mut self, wanted: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        let mut all = Vec::new();
        loop {
            let next = self.next().await;
            let last = wanted(&next);
            all.push(next);
            if last {
                return all;
            }
        }
    }

    /// Ends the connection and leaves the queue, as a consumer that is down. Gives the queue's name.
    pub async fn leave(self) -> String {
        self.connection.close(200, "for now".into()).await.unwrap();
        self.queue
    }

    /// Consumes again from a queue that was left.
    pub async fn resume(exchange: &str, queue: &str) -> Self {
        let connection = connect().await;
        let channel = connection.create_channel().await.unwrap();
        let consumer = consume(&channel, queue).await.unwrap();
        Self { queue: queue.to_owned(), exchange: exchange.to_owned(), connection, channel, consumer }
    }

    /// Takes the queue away, and leaves everything else.
    pub async fn delete_queue(self) {
        let options = QueueDeleteOptions::default();
        self.channel.queue_delete(self.queue.as_str().into(), options).await.unwrap();
        self.connection.close(200, "done".into()).await.unwrap();
    }

    /// Takes the queue and the exchanges of the test away.
    pub async fn close(self) {
        let channel = &self.channel;
        let unrouted = format!("{}.unrouted", self.exchange);
        for queue in [&self.queue, &unrouted] {
            channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
        }
        for exchange in [&self.exchange, &unrouted] {
            channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
        }
        self.connection.close(200, "done".into()).await.unwrap();
    }
}

async fn connect() -> Connection {
    let url = stack::setting("RABBIT_URL");
    Connection::connect(&url, ConnectionProperties::default()).await.unwrap()
}

async fn consume(channel: &Channel, queue: &str) -> lapin::Result<Consumer> {
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await
}

fn delivery(message: &lapin::message::Delivery) -> Delivery {
    let properties = &message.properties;
    Delivery {
        routing_key: message.routing_key.to_string(),
        message_id: properties.message_id().clone().unwrap().to_string(),
        content_type: properties.content_type().clone().unwrap().to_string(),
        delivery_mode: properties.delivery_mode().unwrap(),
        redelivered: message.redelivered,
        body: serde_json::from_slice(&message.data).unwrap(),
    }
}
