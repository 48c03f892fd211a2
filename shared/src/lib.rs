//! The words both sides speak: no axum, no dump tool, no store.
//!
//! `api → shared ← worker`: the API and the workers meet here and in the tables of [`db`], nowhere else.

#[macro_use]
mod words;

pub mod admin;
pub mod broker;
pub mod clock;
pub mod config;
pub mod data_set;
#[cfg(feature = "db")]
pub mod db;
pub mod drift;
#[cfg(feature = "queue")]
pub mod enqueue;
pub mod event;
pub mod failpoint;
pub mod id;
pub mod inventory;
pub mod job;
pub mod manifest;
pub mod name;
#[cfg(feature = "queue")]
pub mod queue;
pub mod save;
pub mod schedule;
pub mod secret;
pub mod server;
pub mod shutdown;
pub mod telemetry;
pub mod wipe;
