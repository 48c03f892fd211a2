//! The words both sides speak: no axum, no dump tool, no store.
//!
//! `api → shared ← worker`: the API and the workers meet here and in the tables of [`db`], nowhere else.

pub mod config;
#[cfg(feature = "db")]
pub mod db;
pub mod id;
pub mod name;
pub mod secret;
