//! What tests of the whole system stand on: the servers of the development stack, programs as real processes with a
//! database and directories of their own, a client as a person's, and whoever must get in their way.
//!
//! Nothing here sleeps for luck: [`wait::until`] looks for a condition until its deadline, and says what it waited for.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot be set up has failed"
)]
#![expect(clippy::unnecessary_debug_formatting, reason = "TOML quotes strings as Rust does")]

pub mod app;
pub mod client;
mod clock;
pub mod database;
pub mod digest;
pub mod events;
pub mod invariants;
pub mod majors;
pub mod owned;
pub mod process;
pub mod proxy;
pub mod s3;
pub mod spec;
pub mod stack;
pub mod wait;

pub use app::{ADMIN_PASSWORD, App};
pub use client::{Answer, Client};
pub use database::Database;
pub use digest::Digest;
pub use events::Listener;
pub use majors::Major;
pub use owned::Owned;
pub use process::Process;
pub use proxy::Proxy;
pub use s3::Bucket;
pub use spec::{TargetSpec, WorkerSpec};
pub use wait::until;
