//! A consumer that hears everything from the first event on, through every restart of the broker.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use lapin::{Connection, ConnectionProperties, options::BasicAckOptions};
use tokio::task::JoinHandle;

use super::{Delivery, Subscription, consume, delivery};
use crate::stack;

/// Listens in the background until dropped or closed.
#[derive(Debug)]
pub struct Listener {
    /// The exchange that the installation's workers publish to.
    pub exchange: String,
    queue: String,
    heard: Arc<Mutex<Vec<Delivery>>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// On an exchange of its own.
    pub async fn open() -> Self {
        let exchange = stack::fresh("events");
        let queue = Subscription::open(&exchange, "#").await.leave().await;
        let heard = Arc::<Mutex<Vec<Delivery>>>::default();
        let task = tokio::spawn(listen(queue.clone(), Arc::clone(&heard)));
        Self { exchange, queue, heard, task }
    }

    /// All that has arrived, in order.
    pub fn heard(&self) -> Vec<Delivery> {
        self.heard.lock().unwrap().clone()
    }

    /// Takes queue and exchanges away.
    pub async fn close(self) {
        self.task.abort();
        Subscription::resume(&self.exchange, &self.queue).await.close().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(queue: String, heard: Arc<Mutex<Vec<Delivery>>>) {
    loop {
        let url = stack::setting("RABBIT_URL");
        let consumed = async {
            let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            let mut consumer = consume(&channel, &queue).await?;
            while let Some(message) = consumer.next().await {
                let message = message?;
                let arrived = delivery(&message);
                // Noted first: what is acknowledged does not come again.
                heard.lock().unwrap().push(arrived);
                message.ack(BasicAckOptions::default()).await?;
            }
            Ok::<_, lapin::Error>(())
        };
        drop(consumed.await);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}
