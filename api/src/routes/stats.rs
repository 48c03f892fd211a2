//! Statistics: how it went, over time.

pub mod list;
