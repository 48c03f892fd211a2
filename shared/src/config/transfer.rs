//! `[transfer]`: bytes that people fetch or bring, through the API and a worker.

use std::time::Duration;

use super::reader::Section;

/// What holds for transfers, on both sides.
#[derive(Debug, Clone)]
pub struct Transfer {
    /// A transfer through which no byte has passed for this long ends.
    pub stall: Duration,
    /// The most bytes of an upload, as they are sent.
    pub import_limit_bytes: u64,
}

impl Transfer {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            stall: s.seconds("stall_s", 0.1..=3600.0),
            import_limit_bytes: s.number("import_limit_bytes", 1024..=1 << 50),
        }
    }
}
