//! `[gc]`: when what dead attempts left in the stores is taken away.

use std::time::Duration;

use super::reader::Section;

/// How a worker collects.
#[derive(Debug, Clone)]
pub struct Gc {
    /// What is younger is left alone. Longer than any job runs, so that no attempt that only seems dead loses its bytes.
    pub grace: Duration,
    /// Between two collections of a worker group; zero: none by itself.
    pub interval: Duration,
    /// Objects that one collection removes from one store.
    pub objects: u32,
}

impl Gc {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self {
            grace: s.seconds("grace_s", 0.0..=31_536_000.0),
            interval: s.seconds("interval_s", 0.0..=31_536_000.0),
            objects: u32::try_from(s.number("objects", 1..=100_000)).unwrap_or(100),
        }
    }
}
