//! `[jobs]`: what whoever asks for a job must know, be it the API or a worker's scheduler.

use super::reader::Section;

/// What holds for jobs as they are enqueued. It is written into the job's row and stays with it.
#[derive(Debug, Clone)]
pub struct Jobs {
    /// How often a job is tried at most, 1 to 20; kinds for which that is too often are tried less.
    pub attempts: i32,
}

impl Jobs {
    pub(super) fn read(s: &mut Section<'_>) -> Self {
        Self { attempts: i32::try_from(s.number("attempts", 1..=20)).unwrap_or(5) }
    }
}
