//! job → event: the pipeline. A worker claims a job, runs its engine, streams the bytes into the stores, writes the
//! record and lets the relay publish it.

pub mod adopt;
pub mod app;
pub mod broker;
pub mod cli;
pub mod context;
mod declared;
pub mod dispatch;
pub mod engine;
pub mod event;
pub mod handler;
pub mod lease;
pub mod port;
pub mod rebuild;
pub mod record;
pub mod runner;
pub mod scheduler;
pub mod signing;
pub mod store;
pub mod stream;
pub mod sweeper;
pub mod transfer;
