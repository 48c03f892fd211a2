//! The byte pipeline (design §7): stages that run at once over a fixed pool of 1 MiB blocks, so that the slowest alone
//! sets the pace and memory does not grow with the save.
//!
//! ```text
//! dump:     source → [pace] → blake3 → [inventory] → zstd ┬→ sha256 → copies
//!                                                └→ age → sha256 → copies     (a branch for each distinct encryption)
//! restore:  store → sha256 → [age] → unzstd → blake3 → (last block held back) → sink
//! ```
//!
//! Peak memory of a dump: `blocks` × 1 MiB (half raw, half stored; a block is shared by all copies of a branch), `blocks`/2 × 1
//! MiB for each encryption, the zstd context (a few MiB at the low levels), and per copy what its store buffers (`file` 1 MiB
//! to read back, `gridfs` two chunks). A passphrase costs 64 MiB for a moment. Of a restore: `blocks`/2 × 1 MiB raw, 3 MiB
//! where it is decrypted, the decoder's window (up to 8 MiB), and up to four pieces as the store delivers them (`file` 1 MiB,
//! `gridfs` its chunk size).

mod block;
mod dump;
mod encrypt;
mod error;
mod hash;
mod pace;
mod progress;
mod restore;
#[cfg(test)]
mod tests;

pub use block::{BLOCK_BYTES, Block, BlockPool, Gauge};
pub use dump::{CopyResult, Destination, DumpPlan, Dumped, NextObject, SentObject, Tap, WrittenObject, dump};
pub use encrypt::{CryptError, Encryption};
pub use error::StreamError;
pub use hash::{Blake3, Sha256, sha256};
pub use progress::{Progress, StageTime};
pub use restore::{
    Expected, ExpectedObject, Objects, Restored, StoredBytes, glance, read_back, restore, verify, verify_stored,
};

/// Blocks per stream when nothing else is asked for: 16 MiB.
pub const DEFAULT_BLOCKS: usize = 16;

/// As the configuration's default (docs/adr/0013-fast-enough-beside-the-database.md).
pub const DEFAULT_LEVEL: i32 = 1;

/// How long a copy that is not needed may hold up the others.
pub const DEFAULT_LAGGARD: std::time::Duration = std::time::Duration::from_secs(30);

/// Hand-overs between stages hold at most this many blocks; the pools are the real bound.
const HAND_OVER: usize = 4;

use tokio::task::JoinHandle;

/// Waits for a stage on its own thread. Only a panic makes it fail.
async fn join<T>(stage: &'static str, handle: JoinHandle<T>) -> Result<T, StreamError> {
    handle.await.map_err(|_| StreamError::StageDied { stage })
}
