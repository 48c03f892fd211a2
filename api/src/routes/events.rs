//! Published facts.

pub mod list;
