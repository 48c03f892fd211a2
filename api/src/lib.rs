//! The control API: request → job. Thin and stateless; it never runs a dump and cannot open a credential.

pub mod app;
pub mod audit;
pub mod auth;
pub mod call;
pub mod cli;
pub mod error;
pub mod extract;
pub mod gate;
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
