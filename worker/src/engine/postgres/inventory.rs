//! The inventory of a `PostgreSQL` dump (`shared::inventory`): counted while the archive passes.
//!
//! [`tap`] sees the bytes of a dump and never fails it: what it cannot make sense of gives no inventory and a reason. It
//! holds the names of the tables and one state of a digest, whatever the size of the tables and of their rows.

mod counter;
mod rows;
mod server;
#[cfg(test)]
mod tests;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use shared::inventory::Inventory;

use self::counter::Counter;
pub use self::server::{RowCounts, TableKey};
use super::archive::Archive;
use crate::stream::Tap;

/// Where a [`tap`] leaves what it has counted.
#[derive(Debug, Clone)]
pub struct Counting(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    Reading(Box<Archive<Counter>>),
    GaveUp(String),
}

/// Counts what a dump holds. The result is there when the stream has ended.
pub fn tap() -> (Tap, Counting) {
    let counting = Counting::default();
    let counted = counting.clone();
    (Box::new(move |block: &bytes::Bytes| counted.feed(block)), counting)
}

impl Default for Counting {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State::Reading(Box::default()))))
    }
}

impl Counting {
    /// The next bytes of the archive.
    pub fn feed(&self, bytes: &[u8]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Reading(archive) = &mut *state else { return };
        // A fault of ours must not cost the save.
        let fed = catch_unwind(AssertUnwindSafe(|| archive.feed(bytes)));
        let gave_up = match fed {
            Ok(()) => archive.gave_up(),
            Err(_) => Some("counting it failed: this is a bug".to_owned()),
        };
        if let Some(why) = gave_up {
            *state = State::GaveUp(why);
        }
    }

    /// What was counted in a dump that ended here, or why there is no telling.
    pub fn result(self) -> Result<Inventory, String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::GaveUp("it was asked for before".to_owned())) {
            State::Reading(archive) => archive.inventory(),
            State::GaveUp(why) => Err(why),
        }
    }
}
