//! The control API through its real door: a process, its database, and HTTP as anybody sends it (guarantees G, §4).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod admins;
mod cast;
mod config;
pub(crate) mod docs;
mod health;
mod jobs;
mod lists;
mod login;
mod malformed;
mod permissions;
mod platform;
mod problems;
mod raw;
mod renewal;
mod resources;
mod secrets;
mod tokens;

pub(crate) use docs::shell_block;
