//! A GridFS file chunk by chunk, in order, each one checked for being the next.

use bytes::Bytes;
use mongodb::bson::RawDocumentBuf;
use shared::name::StoreKey;
use tokio_util::sync::CancellationToken;

use super::GridFsStore;
use crate::store::{Fault, StoreError};

pub(super) struct Reading {
    pub(super) store: GridFsStore,
    pub(super) key: StoreKey,
    pub(super) cursor: mongodb::Cursor<RawDocumentBuf>,
    pub(super) n: i64,
    pub(super) left: u64,
    pub(super) cancel: CancellationToken,
}

impl Reading {
    pub(super) async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        let name = self.store.name.clone();
        let place = self.key.as_str();
        let damaged = |detail: String| StoreError::new(&name, "reading", place, Fault::Corrupt { detail });
        let more = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(StoreError::new(&name, "reading", place, Fault::Cancelled)),
            more = self.cursor.advance() => more.map_err(self.store.error("reading", place))?,
        };
        if !more {
            return if self.left == 0 {
                Ok(None)
            } else {
                Err(damaged(format!("the last {} bytes are missing", self.left)))
            };
        }
        let chunk = self.cursor.current();
        let n = match chunk.get("n") {
            Ok(Some(n)) => n.as_i64().or_else(|| n.as_i32().map(i64::from)),
            _ => None,
        };
        if n != Some(self.n) {
            return Err(damaged(format!("chunk {} is missing", self.n)));
        }
        let bytes = chunk.get_binary("data").map_err(|_| damaged(format!("chunk {} has no data", self.n)))?.bytes;
        let Some(left) = self.left.checked_sub(bytes.len() as u64).filter(|_| !bytes.is_empty()) else {
            return Err(damaged(format!("chunk {} does not fit the recorded length", self.n)));
        };
        let bytes = Bytes::copy_from_slice(bytes);
        (self.n, self.left) = (self.n + 1, left);
        Ok(Some((bytes, self)))
    }
}
