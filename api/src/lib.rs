//! The control API: request → job. Thin and stateless; it never runs a dump and cannot open a credential.

pub mod app;
pub mod audit;
pub mod auth;
pub mod call;
pub mod cli;
pub mod cors;
pub mod error;
pub mod etag;
pub mod extract;
pub mod gate;
pub mod idempotency;
pub mod limits;
pub mod merge;
pub mod openapi;
pub mod page;
pub mod platform;
pub mod rbac;
pub mod routes;
pub mod state;
pub mod stream;
pub mod transfer;
pub(crate) mod view;
