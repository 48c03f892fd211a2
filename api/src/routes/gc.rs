//! Collections of what dead attempts left in the stores.

pub mod create;
