//! The control API through its real door: a process, its database, and HTTP as anybody sends it (guarantees G, §4).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod admin_id;
mod admins;
mod api_tokens;
mod audit;

pub(crate) mod cast;
mod config;
mod cors;
pub(crate) mod docs;
mod etag;
mod groups;
mod health;
mod idempotency;
mod jobs;
mod limits;
mod lists;
mod login;
mod login_time;
mod malformed;
mod openapi;
mod permissions;
mod platform;
mod problems;
mod raw;
mod refresh;
mod renewal;
mod resources;
mod saves;
mod schedules;
mod secrets;
mod stream;
mod tokens;
mod tokens_keys;

pub(crate) use docs::shell_block;
