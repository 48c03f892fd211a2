//! The configuration of this process.

pub mod get;
