//! Whether strangers can read the bucket: a canary is written, and an unsigned request for it and an unsigned listing must
//! both be refused. A backup in a public bucket is a leak that nobody notices by themselves.

use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::Response;
use tokio::sync::Mutex;

use super::{S3Store, fault::from_raw, removal};
use crate::store::{Fault, StoreError};

/// What the canaries' keys begin with. One per look, so that no other worker's look takes it away meanwhile.
const CANARY: &str = ".holdfast-canary-";
/// For how long a look holds: every job asks, and a bucket does not change its policy by itself.
const HOLDS: Duration = Duration::from_mins(10);
/// A canary this old is one that a killed worker has left.
const LEFT_AFTER: chrono::Duration = chrono::Duration::hours(1);
const DOING: &str = "looking whether strangers can read";

#[derive(Debug)]
pub(super) struct Privacy {
    allow_public: bool,
    /// When the bucket was last found to be private.
    seen: Mutex<Option<Instant>>,
}

impl Privacy {
    pub(super) fn new(allow_public: bool) -> Self {
        Self { allow_public, seen: Mutex::new(None) }
    }

    /// An error unless a look of the last minutes found the bucket private, or one of now does.
    pub(super) async fn require(&self, store: &S3Store) -> Result<(), StoreError> {
        // Held while looking: whoever comes meanwhile takes that look's word.
        let mut seen = self.seen.lock().await;
        if self.allow_public || seen.is_some_and(|at| at.elapsed() < HOLDS) {
            return Ok(());
        }
        look(store).await?;
        *seen = Some(Instant::now());
        Ok(())
    }

    /// Looks now.
    pub(super) async fn look(&self, store: &S3Store) -> Result<(), StoreError> {
        *self.seen.lock().await = None;
        self.require(store).await
    }
}

async fn look(store: &S3Store) -> Result<(), StoreError> {
    sweep(store).await;
    let key = format!("{CANARY}{}", uuid::Uuid::now_v7().simple());
    let path = store.place(&key)?;
    let text = bytes::Bytes::from_static(b"Whoever can read this without a key can read the saves beside it.\n");
    store.create(DOING, &key, &path, text.into()).await?;
    let looked = async {
        let get = store.raw.get_unsigned(&path).await.map_err(|error| from_raw(&store.name, DOING, &key, error))?;
        refused(store, &key, "a request without a signature for an object", &get)?;
        let list =
            store.raw.list_unsigned(&store.prefix).await.map_err(|error| from_raw(&store.name, DOING, &key, error))?;
        refused(store, &key, "a request without a signature for a list of objects", &list)
    }
    .await;
    match removal::remove(store, &key, &path).await {
        Ok(_) => {}
        // A bucket that keeps everything for a while keeps this too, until a later look.
        Err(error) if matches!(error.fault(), Fault::Locked { .. }) => {}
        Err(error) => return looked.and(Err(error)),
    }
    looked
}

/// Refused is refused, whatever the words; "not found" is not: it was there.
fn refused(store: &S3Store, key: &str, what: &str, answer: &Response) -> Result<(), StoreError> {
    let status = answer.status();
    if status.is_client_error() && status.as_u16() != 404 {
        return Ok(());
    }
    let fault = if status.is_server_error() {
        Fault::Unreachable
    } else {
        Fault::Public { detail: format!("{what} was answered {}", status.as_u16()) }
    };
    Err(store.fault(DOING, key, fault))
}

/// Takes away what killed workers have left. Of no importance: whatever fails here fails the look itself too.
async fn sweep(store: &S3Store) {
    let Ok((found, _)) = store.page((&format!("{}{CANARY}", store.prefix), None), 10, None).await else { return };
    for canary in found {
        if Utc::now() - canary.last_modified > LEFT_AFTER
            && let Err(error) = removal::remove(store, canary.location.as_ref(), &canary.location).await
        {
            tracing::debug!(store = %store.name, error = %shared::telemetry::Causes(&error), "an old canary stays");
        }
    }
}
