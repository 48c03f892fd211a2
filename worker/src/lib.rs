//! The worker: engine → stream → store → record → event.

pub mod store;
pub mod stream;
