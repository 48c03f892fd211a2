//! The control API through its real door: a process, its database, and HTTP as anybody sends it (guarantees G, §4).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod cast;
mod config;
mod cors;
pub(crate) mod docs;
mod etag;
mod health;
mod idempotency;
mod jobs;
mod limits;
mod lists;
mod login;
mod malformed;
mod permissions;
mod problems;
mod raw;
mod renewal;
mod resources;
mod secrets;
mod tokens;

pub(crate) use docs::shell_block;
